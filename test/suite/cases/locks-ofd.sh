# Locks of an open file description: shared by dup and fork, in conflict within one process.
# groups: locks
python3 - <<'PY'
from lib import *
a = os.open('f', os.O_RDWR | os.O_CREAT); b = os.open('f', os.O_RDWR); ofd(a, fcntl.F_WRLCK, 0, 10); print(err(ofd, b, fcntl.F_RDLCK, 5, 1), err(ofd, os.dup(a), fcntl.F_WRLCK, 0, 10), err(ofd, b, fcntl.F_WRLCK, 10, 5))
in_child(lambda: print(err(ofd, a, fcntl.F_UNLCK, 0, 10))); print(err(ofd, b, fcntl.F_RDLCK, 5, 1))
PY
