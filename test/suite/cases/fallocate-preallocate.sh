# Preallocated space reads as zeroes, counts as used, and extends the size.
# groups: fallocate data
python3 - <<'PY'
from lib import *
needs_fallocate(0)
fd = os.open('f', os.O_RDWR | os.O_CREAT); os.write(fd, b'x' * 100); fallocate(fd, 0, 0, 1 << 20)
print(os.fstat(fd).st_size, os.fstat(fd).st_blocks >= 2048, os.pread(fd, 4, 98), os.pread(fd, 4, 500000)); os.pwrite(fd, b'mid', 500000); print(os.pread(fd, 7, 499998))
PY
