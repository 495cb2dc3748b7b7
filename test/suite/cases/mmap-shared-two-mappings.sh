# Two mappings of one file, a write and a read see each other at once.
# groups: mmap data
python3 - <<'PY'
from lib import *
fd = os.open('f', os.O_RDWR | os.O_CREAT); os.ftruncate(fd, 16384); a = mmap.mmap(fd, 16384); b = mmap.mmap(os.open('f', os.O_RDWR), 16384)
a[5000:5005] = b'hello'; print(b[5000:5005], os.pread(fd, 5, 5000)); os.pwrite(fd, b'WORLD', 12000); print(a[12000:12005], b[12000:12005]); a[0] = 65
print(in_child(lambda: print(get('f')[:1], b[0])))
PY
