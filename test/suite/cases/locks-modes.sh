# A lock needs a descriptor that can do it; a bad range is refused.
# groups: locks errno
python3 - <<'PY'
from lib import *
put('f', 'x'); r = os.open('f', os.O_RDONLY); w = os.open('f', os.O_WRONLY); print(err(record, r, fcntl.F_WRLCK, 0, 1), err(record, w, fcntl.F_RDLCK, 0, 1), err(record, r, fcntl.F_RDLCK, 0, 1), err(record, r, fcntl.F_RDLCK, -1, 1), err(record, r, fcntl.F_RDLCK, 1, -2))
PY
