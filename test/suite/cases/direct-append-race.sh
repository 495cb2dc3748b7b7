# Direct appends of four processes do not overwrite each other.
# groups: direct race
python3 - <<'PY'
from lib import *
put('f')
direct('f')
def work(p):
    fd = os.open('f', os.O_WRONLY | os.O_APPEND | os.O_DIRECT)
    for i in range(25): os.writev(fd, [aligned(b'%d' % p * 4096)])
print(together([lambda p=p: work(p) for p in range(4)])); d = get('f'); print(len(d), sorted(len(set(d[i:i + 4096])) for i in range(0, len(d), 4096)) == [1] * 100)
PY
