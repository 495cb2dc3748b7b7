# A mapping outlives its descriptor and the file's last name.
# groups: mmap unlink
python3 - <<'PY'
from lib import *
fd = os.open('f', os.O_RDWR | os.O_CREAT); os.ftruncate(fd, 8192); m = mmap.mmap(fd, 8192); g = os.dup(fd); os.close(fd); os.unlink('f'); m[4096:4100] = b'data'; m.flush(); print(os.pread(g, 4, 4096), m[4096:4100])
PY
