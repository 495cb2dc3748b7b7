# 64 MiB written in odd pieces, read in others, equal by checksum.
# groups: data
python3 - <<'PY'
from lib import *
import hashlib, random
r = random.Random(1); h = hashlib.sha256(); fd = os.open('f', os.O_RDWR | os.O_CREAT); block = r.randbytes(1 << 20); total = 0
while total < 64 << 20: n = r.randrange(1, 1 << 20); piece = block[:n]; h.update(piece); total += os.write(fd, piece)
g = hashlib.sha256(); os.fsync(fd); os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED); os.lseek(fd, 0, 0)
while piece := os.read(fd, r.randrange(1, 300000)): g.update(piece)
print(total, g.digest() == h.digest())
PY
