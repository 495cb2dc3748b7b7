# Names of 255 bytes, empty and long values, and what is too much.
# groups: xattr errno
python3 - <<'PY'
from lib import *
put('f'); n = 'user.' + 'n' * 250; os.setxattr('f', n, b'v'); print(os.getxattr('f', n), err(os.setxattr, 'f', n + 'n', b''), err(os.setxattr, 'f', 'user.', b''), err(os.setxattr, 'f', '', b''), err(os.setxattr, 'f', 'user.big', b'x' * 65537)); os.setxattr('f', 'user.v', b'x' * 2000); print(len(os.getxattr('f', 'user.v')))
PY
