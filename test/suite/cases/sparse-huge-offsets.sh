# A byte at 1 TiB, and one beyond what a file can have.
# groups: sparse data
python3 - <<'PY'
from lib import *
fd = os.open('f', os.O_RDWR | os.O_CREAT); os.pwrite(fd, b'x', 1 << 40)
print(os.fstat(fd).st_size == (1 << 40) + 1, os.pread(fd, 3, (1 << 40) - 1), os.fstat(fd).st_blocks * 512 <= 65536, os.lseek(fd, 0, os.SEEK_DATA) >> 39, err(os.pwrite, fd, b'x', (1 << 63) - 1))
PY
