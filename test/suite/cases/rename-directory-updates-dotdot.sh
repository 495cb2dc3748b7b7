# A directory that moves has another parent, and both link counts follow.
# groups: rename dir
python3 - <<'PY'
from lib import *
os.makedirs('p/d'); os.mkdir('q')
os.rename('p/d', 'q/d')
print(os.stat('q/d/..').st_ino == os.stat('q').st_ino, os.stat('p').st_nlink, os.stat('q').st_nlink)
os.mkdir('p/d'); os.rename('p/d', 'q/d'); print(os.stat('p').st_nlink, os.stat('q').st_nlink, os.stat('q/d/..').st_ino == os.stat('q').st_ino)
PY
