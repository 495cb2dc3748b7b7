# Holes with edges inside pages: the neighbours keep their bytes.
# groups: fallocate data
python3 - <<'PY'
from lib import *
needs_fallocate(PUNCH_HOLE | KEEP_SIZE)
base = bytes(range(1, 252)) * 250
for offset, length in ((0, 1), (1, 4095), (100, 8000), (4096, 4096), (4095, 2), (8191, 20000), (62000, 5000), (62000, 1 << 20), (70000, 10)):
    put('f', base, os.O_TRUNC); fd = os.open('f', os.O_RDWR); fallocate(fd, PUNCH_HOLE | KEEP_SIZE, offset, length)
    want = bytearray(base); end = min(offset + length, len(base)); want[offset:end] = b'\0' * max(0, end - offset); print(offset, length, get('f') == bytes(want)); os.close(fd)
PY
