# flock: shared to exclusive and back, independent of record locks.
# groups: locks
python3 - <<'PY'
from lib import *
a = os.open('f', os.O_RDWR | os.O_CREAT); b = os.open('f', os.O_RDWR); N = fcntl.LOCK_NB; flock = fcntl.flock
flock(a, fcntl.LOCK_SH); print(err(flock, b, fcntl.LOCK_SH | N), err(flock, a, fcntl.LOCK_EX | N)); flock(b, fcntl.LOCK_UN); print(err(flock, a, fcntl.LOCK_EX | N), err(flock, b, fcntl.LOCK_SH | N)); flock(a, fcntl.LOCK_SH); print(err(flock, b, fcntl.LOCK_SH | N), err(record, b, fcntl.F_WRLCK, 0, 0))
PY
