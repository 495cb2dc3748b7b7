# What fallocate refuses, by errno.
# groups: fallocate errno
python3 - <<'PY'
from lib import *
needs_fallocate(PUNCH_HOLE | KEEP_SIZE)
put('f', 'x'); fd = os.open('f', os.O_RDWR); r = os.open('f', os.O_RDONLY)
print(err(fallocate, r, 0, 0, 10), err(fallocate, fd, 0, -1, 10), err(fallocate, fd, 0, 0, 0), err(fallocate, fd, 0, 0, -1), err(fallocate, fd, PUNCH_HOLE, 0, 10), err(fallocate, fd, 0, (1 << 63) - 1, 10), err(fallocate, fd, 1 << 20, 0, 10))
PY
