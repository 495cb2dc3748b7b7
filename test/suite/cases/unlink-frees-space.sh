# The space of an open file that was unlinked comes back at the last close.
# groups: unlink statfs
python3 - <<'PY'
from lib import *
def used(): s = os.statvfs('.'); return (s.f_blocks - s.f_bfree) * s.f_frsize
os.sync(); before = used(); put('f', b'x' * (8 << 20)); os.sync(); fd = os.open('f', os.O_RDONLY); os.unlink('f'); os.sync()
print(used() - before >= 8 << 20); os.close(fd); print(until(lambda: used() - before < 1 << 20))
PY
