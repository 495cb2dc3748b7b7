# Exchanging directories across directories moves their '..' and the link counts.
# groups: rename link
python3 - <<'PY'
from lib import *
os.makedirs('p/d'); os.makedirs('q/r/s'); put('q/f', 'f')
renameat2('p/d', 'q/f', EXCHANGE)
print(get('p/d'), os.stat('p').st_nlink, os.stat('q').st_nlink)
renameat2('q/f', 'q/r', EXCHANGE)
print(os.listdir('q/f'), os.stat('q/r/..').st_ino == os.stat('q').st_ino, os.stat('q').st_nlink)
print(err(renameat2, 'q', 'q/f/s', EXCHANGE), err(renameat2, 'q/f/s', 'q', EXCHANGE))
PY
