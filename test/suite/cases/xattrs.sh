# Extended attributes: set, get, list, replace, remove, and their errors.
# groups: xattr
python3 - <<'PY'
import os, errno
def err(f, *a):
    try: return f(*a)
    except OSError as e: return errno.errorcode[e.errno]
open('f', 'w').close()
os.setxattr('f', 'user.a', b'1'); os.setxattr('f', 'user.b', b'x' * 1000); os.setxattr('f', 'user.empty', b'')
print(sorted(n for n in os.listxattr('f') if n.startswith('user.')), os.getxattr('f', 'user.a'), len(os.getxattr('f', 'user.b')))
print(err(os.setxattr, 'f', 'user.a', b'2', os.XATTR_CREATE), err(os.setxattr, 'f', 'user.z', b'2', os.XATTR_REPLACE), err(os.getxattr, 'f', 'user.z'))
os.setxattr('f', 'user.a', b'longer value', os.XATTR_REPLACE); print(os.getxattr('f', 'user.a'), os.getxattr('f', 'user.empty'))
os.removexattr('f', 'user.a'); print(err(os.removexattr, 'f', 'user.a'), err(os.setxattr, 'f', 'nothing.a', b''))
PY
