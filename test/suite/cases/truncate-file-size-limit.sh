# RLIMIT_FSIZE: a write that crosses it is cut, the next one fails with EFBIG.
# groups: truncate errno
python3 - <<'PY'
from lib import *
import resource
def body():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000)); fd = os.open('f', os.O_RDWR | os.O_CREAT)
    print(os.pwrite(fd, b'x' * 8000, 0), err(os.pwrite, fd, b'x', 5000), err(os.ftruncate, fd, 5001), err(os.ftruncate, fd, 5000))
print(in_child(body), os.stat('f').st_size)
PY
