# ZERO_RANGE zeroes, keeps space, and grows the file unless told to keep its size.
# groups: fallocate data
python3 - <<'PY'
from lib import *
needs_fallocate(ZERO_RANGE)
put('f', b'x' * 50000); fd = os.open('f', os.O_RDWR); fallocate(fd, ZERO_RANGE, 1000, 20000); d = get('f'); print(d[:1000] == b'x' * 1000, d[1000:21000] == b'\0' * 20000, d[21000:] == b'x' * 29000)
fallocate(fd, ZERO_RANGE | KEEP_SIZE, 40000, 100000); print(os.fstat(fd).st_size, get('f')[39999:40001]); fallocate(fd, ZERO_RANGE, 45000, 100000); print(os.fstat(fd).st_size)
PY
