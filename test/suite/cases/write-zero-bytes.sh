# Writing nothing changes nothing.
# groups: data times
python3 - <<'PY'
from lib import *
put('f', 'x'); fd = os.open('f', os.O_RDWR); print(changes('f', lambda: os.pwrite(fd, b'', 100), lambda: os.pwrite(fd, b'y', 0)), os.fstat(fd).st_size)
PY
