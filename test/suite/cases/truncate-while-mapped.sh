# A page beyond the new end raises SIGBUS; the rest of the last page is zero.
# groups: truncate mmap
python3 - <<'PY'
from lib import *
put('f', b'z' * 8192); fd = os.open('f', os.O_RDWR); m = mmap.mmap(fd, 8192); print(m[5000]); os.ftruncate(fd, 100); print(m[99], m[100], m[4095])
status = in_child(lambda: m[5000]); print(status == -signal.SIGBUS); os.ftruncate(fd, 8192); print(m[100], m[5000])
PY
