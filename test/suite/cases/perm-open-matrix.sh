# Who may read, write and run a file of each mode: owner, group, others.
# groups: perm
python3 - <<'PY'
from lib import *
needs_root()
os.chmod('.', 0o755); put('f', 'x'); os.chown('f', 12345, 555)
def body(): print('%s%s%s' % tuple('y' if os.access('f', m) and (m == os.X_OK or err(os.open, 'f', f) == 'ok') else '-' for m, f in ((os.R_OK, os.O_RDONLY), (os.W_OK, os.O_WRONLY), (os.X_OK, 0))), end=' ', flush=True)
for m in (0o000, 0o400, 0o040, 0o004, 0o200, 0o020, 0o002, 0o111, 0o750, 0o077, 0o707):
    os.chmod('f', m); print('%04o' % m, end=' ', flush=True)
    as_user(body); as_user(body, 1, 555); as_user(body, 1, 1, (555,)); as_user(body, 1, 1); print(flush=True)
PY
