# lseek's refusals, by errno.
# groups: data errno
python3 - <<'PY'
from lib import *
put('f', 'x' * 10); fd = os.open('f', os.O_RDWR)
print(os.lseek(fd, 100, 0), os.lseek(fd, -5, 1), os.lseek(fd, 0, 2), err(os.lseek, fd, -1, 0), err(os.lseek, fd, -11, 2), err(os.lseek, fd, 10, os.SEEK_DATA), err(os.lseek, fd, 11, os.SEEK_HOLE), os.lseek(fd, 5, os.SEEK_HOLE), err(os.lseek, fd, -1, os.SEEK_DATA))
PY
