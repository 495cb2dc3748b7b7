# What truncate refuses, by errno.
# groups: truncate errno
python3 - <<'PY'
from lib import *
put('f', 'x'); os.mkfifo('p'); r = os.open('f', os.O_RDONLY)
print(err(os.truncate, 'f', -1), err(os.truncate, 'none', 0), err(os.ftruncate, r, 0), err(os.truncate, 'p', 0), err(os.truncate, 'f/x', 0), err(os.truncate, 'f', 5), os.stat('f').st_size)
PY
