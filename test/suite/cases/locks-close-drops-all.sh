# Closing any descriptor of a file drops all record locks of the process, and none of the open file description's.
# groups: locks
python3 - <<'PY'
from lib import *
fd = os.open('f', os.O_RDWR | os.O_CREAT); record(fd, fcntl.F_WRLCK, 0, 10); os.close(os.open('f', os.O_RDONLY))
def body(): g = os.open('f', os.O_RDWR); print(err(record, g, fcntl.F_WRLCK, 0, 10))
in_child(body); ofd(fd, fcntl.F_WRLCK, 0, 10); os.close(os.open('f', os.O_RDONLY)); in_child(body)
PY
