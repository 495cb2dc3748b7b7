# Lists without an owner, without a mask, out of order, or of another version are refused.
# groups: acl errno
python3 - <<'PY'
from lib import *
put('f'); acl('f', (1, -1, 6), (4, -1, 4), (32, -1, 0))
print(err(acl, 'f', (4, -1, 4), (32, -1, 0)), err(acl, 'f', (1, -1, 6), (2, 5, 4), (4, -1, 4), (32, -1, 0)), err(acl, 'f', (32, -1, 0), (1, -1, 6), (4, -1, 4)), err(os.setxattr, 'f', 'system.posix_acl_access', b'\1\0\0\0'), err(acl, 'f', (1, -1, 7), (4, -1, 7), (32, -1, 7), default=True))
PY
