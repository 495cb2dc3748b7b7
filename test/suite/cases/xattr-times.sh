# Setting and removing an attribute changes the ctime only.
# groups: xattr times
python3 - <<'PY'
from lib import *
put('f'); print(changes('f', lambda: os.setxattr('f', 'user.a', b'1'), lambda: os.getxattr('f', 'user.a'), lambda: os.removexattr('f', 'user.a')))
PY
