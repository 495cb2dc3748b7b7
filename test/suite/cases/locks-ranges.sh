# Record locks split, join, upgrade and downgrade; another process sees where.
# groups: locks
python3 - <<'PY'
from lib import *
fd = os.open('f', os.O_RDWR | os.O_CREAT)
def map_of():
    def body():
        g = os.open('f', os.O_RDWR); print(''.join({'okok': '.', 'EAGAINEAGAIN': 'W', 'okEAGAIN': 'R'}.get(err(record, g, fcntl.F_RDLCK, i, 1) + err(record, g, fcntl.F_WRLCK, i, 1), '?') for i in range(20)))
    in_child(body)
record(fd, fcntl.F_WRLCK, 2, 10); map_of(); record(fd, fcntl.F_UNLCK, 5, 3); map_of(); record(fd, fcntl.F_RDLCK, 0, 4); map_of(); record(fd, fcntl.F_WRLCK, 4, 10); map_of(); record(fd, fcntl.F_UNLCK, 0, 0); map_of()
PY
