# KEEP_SIZE takes space beyond the end, which a later write uses.
# groups: fallocate data
python3 - <<'PY'
from lib import *
needs_fallocate(KEEP_SIZE)
put('f', 'abc'); fd = os.open('f', os.O_RDWR); fallocate(fd, KEEP_SIZE, 0, 1 << 20); blocks = os.fstat(fd).st_blocks
print(os.fstat(fd).st_size, blocks >= 2048, os.pread(fd, 10, 0)); os.pwrite(fd, b'z', 1000000); print(os.fstat(fd).st_size, os.fstat(fd).st_blocks == blocks, os.pread(fd, 3, 999998))
PY
