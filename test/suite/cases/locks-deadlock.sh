# Two processes that wait for each other's record: one gets EDEADLK.
# groups: locks errno
python3 - <<'PY'
from lib import *
fd = os.open('f', os.O_RDWR | os.O_CREAT); log = os.open('log', os.O_CREAT | os.O_APPEND | os.O_WRONLY); a, b = os.pipe(), os.pipe()
def work(mine, other, say, hear):
    g = os.open('f', os.O_RDWR); record(g, fcntl.F_WRLCK, mine, 1); os.write(say, b'x'); os.read(hear, 1); os.write(log, err(record, g, fcntl.F_WRLCK, other, 1, True).encode() + b'\n')
print(together([lambda: work(0, 1, a[1], b[0]), lambda: work(1, 0, b[1], a[0])]), sorted(get('log').split()))
PY
