# '.' and '..' come first and have the right numbers.
# groups: readdir dir
python3 - <<'PY'
from lib import *
os.makedirs('d/e'); 
for where, up in (('d', '.'), ('d/e', 'd')):
    entries = dict((n, i) for n, i in raw_inodes(where)); print(entries['.'] == os.stat(where).st_ino, entries['..'] == os.stat(up).st_ino)
PY
