# A value that grows and shrinks a hundred times, among others that stay.
# groups: xattr
python3 - <<'PY'
from lib import *
put('f'); os.setxattr('f', 'user.a', b'A' * 50); os.setxattr('f', 'user.z', b'Z' * 50)
for i in range(100): os.setxattr('f', 'user.m', bytes([i]) * (i * 37 % 1500))
print(os.getxattr('f', 'user.m') == bytes([99]) * (99 * 37 % 1500), os.getxattr('f', 'user.a') == b'A' * 50, os.getxattr('f', 'user.z') == b'Z' * 50)
PY
