# A file without a name is read, written, mapped and truncated as before.
# groups: unlink data
python3 - <<'PY'
from lib import *
put('f', 'hello'); fd = os.open('f', os.O_RDWR); os.unlink('f')
os.pwrite(fd, b'world', 5); print(os.pread(fd, 20, 0)); os.ftruncate(fd, 8192); m = mmap.mmap(fd, 8192); m[5000] = 65; m.flush(); print(os.pread(fd, 3, 4999), os.fstat(fd).st_nlink, err(os.stat, 'f'))
PY
