# SEEK_DATA and SEEK_HOLE over a comb of blocks agree with what was written.
# groups: sparse data
python3 - <<'PY'
from lib import *
fd = os.open('f', os.O_RDWR | os.O_CREAT)
for i in range(0, 64, 2): os.pwrite(fd, b'x' * 65536, i * 65536)
os.ftruncate(fd, 65 * 65536); os.fsync(fd); at, found = 0, []
while True:
    try: data = os.lseek(fd, at, os.SEEK_DATA)
    except OSError: break
    at = os.lseek(fd, data, os.SEEK_HOLE); found.append((data // 65536, at // 65536))
print(found == [(i, i + 1) for i in range(0, 64, 2)], len(found))
PY
