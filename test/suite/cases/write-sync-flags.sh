# O_SYNC, O_DSYNC, fsync, fdatasync and syncfs on files and directories.
# groups: data
python3 - <<'PY'
from lib import *
for flag in (os.O_SYNC, os.O_DSYNC): fd = os.open('f', os.O_RDWR | os.O_CREAT | flag, 0o644); print(os.write(fd, b'x' * 10000), os.fstat(fd).st_size)
os.mkdir('d'); d = os.open('d', os.O_RDONLY); print(err(os.fsync, d), err(os.fdatasync, d), err(os.fsync, fd), libc.syncfs(fd), err(os.fsync, os.open('f', os.O_RDONLY)))
PY
