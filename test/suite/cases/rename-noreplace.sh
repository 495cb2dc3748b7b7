# NOREPLACE refuses every existing target and moves onto a free name.
# groups: rename errno
python3 - <<'PY'
from lib import *
put('a', 'a'); put('b'); os.mkdir('d'); os.symlink('nowhere', 'l')
print(*(err(renameat2, 'a', t, NOREPLACE) for t in ('a', 'b', 'd', 'l', 'new')))
print(get('new'), sorted(os.listdir('.')))
print(err(renameat2, 'none', 'x', NOREPLACE), err(renameat2, 'new', 'b', NOREPLACE | EXCHANGE), err(renameat2, 'new', 'b', 128))
PY
