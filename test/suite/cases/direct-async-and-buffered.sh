# What asynchronous direct writes have written is what is read, however often others read the file meanwhile.
# groups: direct data race
python3 - <<'PY'
from lib import *
SIZE, PIECE = 640 << 10, 64 << 10
put('f', b'0' * SIZE); put('reading')
def reader():
    fd = os.open('f', os.O_RDONLY)
    while os.path.exists('reading'): os.pread(fd, SIZE, 0)
readers = [start(reader) for _ in range(2)]
d, b, aio, stale, end = direct('f'), os.open('f', os.O_RDONLY), Aio(16), 0, time.monotonic() + 3
for n in range(1, 100000):
    if time.monotonic() > end: break
    pieces = [(at, aligned(b'%c' % (65 + n % 26) * PIECE)) for at in range(0, SIZE, PIECE)]
    if aio.writes(d, pieces) != len(pieces): print('not written')
    if os.pread(b, SIZE, 0) != b'%c' % (65 + n % 26) * SIZE: stale += 1
os.unlink('reading'); print([finish(pid) for pid in readers], n > 3, stale, 'of the rounds were read stale')
PY
