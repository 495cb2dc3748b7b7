# Attributes of a directory stay with it through a rename, and are not inherited.
# groups: xattr dir
python3 - <<'PY'
from lib import *
os.mkdir('d'); os.setxattr('d', 'user.k', b'v'); os.rename('d', 'e'); os.mkdir('e/sub'); put('e/f'); print(os.getxattr('e', 'user.k'), [x for x in os.listxattr('e/sub') + os.listxattr('e/f') if x.startswith('user')])
PY
