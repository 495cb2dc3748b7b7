# In a sticky directory only the owners remove and rename.
# groups: perm unlink rename
python3 - <<'PY'
from lib import *
needs_root()
os.mkdir('d'); os.chmod('d', 0o1777); put('d/roots'); put('d/mine'); os.chown('d/mine', 12345, 12345); os.mkdir('d/dir'); os.chown('d/dir', 1, 1)
def body(): print(err(os.unlink, 'd/roots'), err(os.rename, 'd/roots', 'd/x'), err(os.rename, 'd/mine', 'd/roots'), err(os.rmdir, 'd/dir'), err(os.rename, 'd/mine', 'd/m2'), err(os.unlink, 'd/m2'), err(renameat2, 'd/roots', 'd/dir', EXCHANGE))
os.chmod('.', 0o755); as_user(body); os.chown('d', 12345, 0); as_user(body)
PY
