# A named user and a named group get what the ACL and its mask give.
# groups: acl perm
python3 - <<'PY'
from lib import *
needs_root()
put('f', 'secret'); os.chmod('f', 0o600); acl('f', (1, -1, 6), (2, 12345, 6), (4, -1, 0), (8, 777, 4), (16, -1, 6), (32, -1, 0)); os.chmod('.', 0o755)
def body(): print(err(os.open, 'f', os.O_RDONLY), err(os.open, 'f', os.O_WRONLY))
as_user(body); as_user(body, 4321, 777); as_user(body, 4321, 4321); print(mode('f')); os.chmod('f', 0o640); print(acl_of('f')); as_user(body)
PY
