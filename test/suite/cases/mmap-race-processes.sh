# Four processes write their own bytes of every page through mappings; none is lost.
# groups: mmap race
python3 - <<'PY'
from lib import *
fd = os.open('f', os.O_RDWR | os.O_CREAT); os.ftruncate(fd, 64 * 4096)
def work(p):
    m = mmap.mmap(os.open('f', os.O_RDWR), 64 * 4096)
    for i in range(64): m[i * 4096 + p * 1000:i * 4096 + p * 1000 + 4] = b'%d%03d' % (p, i)
print(together([lambda p=p: work(p) for p in range(4)])); d = get('f'); print(all(d[i * 4096 + p * 1000:i * 4096 + p * 1000 + 4] == b'%d%03d' % (p, i) for i in range(64) for p in range(4)))
PY
