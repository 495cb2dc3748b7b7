# getxattr and listxattr with no, a small and an exact buffer.
# groups: xattr errno
python3 - <<'PY'
from lib import *
put('f'); os.setxattr('f', 'user.k', b'0123456789'); b = ctypes.create_string_buffer(100)
def sized(n): return libc.getxattr(b'f', b'user.k', b, n), errno.errorcode.get(ctypes.get_errno()) 
for n in (0, 10, 100): print(sized(n)[0])
print(sized(9), libc.getxattr(b'f', b'user.none', b, 100), errno.errorcode[ctypes.get_errno()])
PY
