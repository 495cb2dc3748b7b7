# A hundred links to one file, and the count all the way down.
# groups: link
python3 - <<'PY'
from lib import *
put('f', 'x')
for i in range(100): os.link('f', f'l{i}')
print(os.stat('f').st_nlink, len({os.stat(f'l{i}').st_ino for i in range(100)}))
for i in range(100): os.unlink(f'l{i}')
print(os.stat('f').st_nlink, get('f'))
PY
