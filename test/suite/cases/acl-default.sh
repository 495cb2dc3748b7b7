# A default ACL is what new files and directories begin with, whatever the umask.
# groups: acl perm
python3 - <<'PY'
from lib import *
needs_root()
os.mkdir('d'); acl('d', (1, -1, 7), (2, 12345, 7), (4, -1, 5), (16, -1, 7), (32, -1, 0), default=True); os.umask(0o077); put('d/f', mode=0o666); os.mkdir('d/e', 0o777)
print(mode('d/f'), acl_of('d/f')); print(mode('d/e'), acl_of('d/e')); print(acl_of('d/e', True) == acl_of('d', True), acl_of('d/f', True))
PY
