# Holes in the middle, at the start and at the end read as zeroes, in any size.
# groups: sparse data
python3 - <<'PY'
from lib import *
fd = os.open('f', os.O_RDWR | os.O_CREAT); os.pwrite(fd, b'M' * 10, 100000); os.ftruncate(fd, 300001)
whole = os.pread(fd, 1 << 20, 0); print(len(whole), whole == b'\0' * 100000 + b'M' * 10 + b'\0' * 199991, os.pread(fd, 5, 300000), os.pread(fd, 5, 300001), os.fstat(fd).st_blocks * 512 <= 16384)
PY
