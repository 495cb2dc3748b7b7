# What r, w and x on a directory allow.
# groups: perm dir
python3 - <<'PY'
from lib import *
needs_root()
os.chmod('.', 0o755)
for m in range(8):
    os.mkdir('d'); put('d/f', 'x'); os.chown('d', 12345, 12345); os.chmod('d', m << 6)
    def body(): print(m, err(os.listdir, 'd'), err(os.stat, 'd/f'), err(os.open, 'd/f', 0), err(put, 'd/new'), err(os.unlink, 'd/f'), err(os.mkdir, 'd/e'), err(os.rename, 'd/e', 'd/g'))
    as_user(body); subprocess.run(['rm', '-rf', 'd'])
PY
