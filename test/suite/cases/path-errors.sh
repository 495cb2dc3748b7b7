# ENOENT, ENOTDIR and ELOOP on the way to a name.
# groups: errno
python3 - <<'PY'
from lib import *
put('f'); os.mkdir('d'); os.symlink('l', 'l')
print(*(err(os.stat, p) for p in ('none/f', 'f/x', 'f/.', 'f/..', 'd/../f', 'd/none/../..', 'l/x', '', 'd//./..//f')))
PY
