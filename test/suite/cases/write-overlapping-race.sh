# Eight processes write overlapping ranges; every write of 16 KiB is there whole or not at all.
# groups: data race
python3 - <<'PY'
from lib import *
put('f', b'.' * 65536)
def work(p):
    fd = os.open('f', os.O_RDWR)
    for i in range(50): os.pwrite(fd, bytes([65 + p]) * 16384, (i * 7 + p) % 4 * 16384)
print(together([lambda p=p: work(p) for p in range(8)])); d = get('f'); print([len(set(d[i:i + 16384])) for i in range(0, 65536, 16384)])
PY
