# Unlinked while open, by every name, one after the other.
# groups: unlink link
python3 - <<'PY'
from lib import *
put('a', 'x'); os.link('a', 'b'); os.link('a', 'c'); fd = os.open('b', os.O_RDWR)
for n in 'abc': os.unlink(n); print(os.fstat(fd).st_nlink, os.pread(fd, 1, 0))
PY
