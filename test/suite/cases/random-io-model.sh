# 2,000 random reads, writes, cuts and holes against a plain array of bytes.
# groups: data
python3 - <<'PY'
from lib import *
import random
r = random.Random(7); fd = os.open('f', os.O_RDWR | os.O_CREAT); model = bytearray(); punch = err(fallocate, fd, PUNCH_HOLE | KEEP_SIZE, 0, 1) == 'ok'
for i in range(2000):
    at, n, kind = r.randrange(300000), r.randrange(1, 30000), r.randrange(10)
    if kind < 4: 
        piece = bytes([r.randrange(1, 256)]) * n; os.pwrite(fd, piece, at); model.extend(b'\0' * (at + n - len(model))); model[at:at + n] = piece
    elif kind < 7: assert os.pread(fd, n, at) == bytes(model[at:at + n]), i
    elif kind == 7: os.ftruncate(fd, at); model = model[:at] + b'\0' * (at - len(model))
    elif kind == 8 and punch: fallocate(fd, PUNCH_HOLE | KEEP_SIZE, at, n); end = min(at + n, len(model)); model[at:end] = b'\0' * max(0, end - at)
    elif kind == 9: os.fsync(fd) if r.random() < 0.3 else os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
print(get('f') == bytes(model), len(model) == os.fstat(fd).st_size)
PY
