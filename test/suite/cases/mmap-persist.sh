# What a mapping wrote is there after msync, close and a fresh open, also over a hole.
# groups: mmap data
python3 - <<'PY'
from lib import *
fd = os.open('f', os.O_RDWR | os.O_CREAT); os.ftruncate(fd, 1 << 20); m = mmap.mmap(fd, 1 << 20)
for i in range(0, 1 << 20, 65536): m[i:i + 4] = b'%04d' % (i >> 16)
m.flush(); m.close(); os.fsync(fd); os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED); os.close(fd); d = get('f'); print([d[i:i + 4] for i in range(0, 1 << 20, 65536)] == [b'%04d' % i for i in range(16)], d.count(0))
PY
