# Reading and writing a directory, by errno.
# groups: dir errno
python3 - <<'PY'
from lib import *
os.mkdir('d'); fd = os.open('d', os.O_RDONLY); print(err(os.read, fd, 10), err(os.write, fd, b'x'), err(os.truncate, 'd', 0), err(os.ftruncate, fd, 0), err(fallocate, fd, 0, 0, 10))
PY
