# A thousand nameless files at once leave no space taken when they are closed.
# groups: create unlink
python3 - <<'PY'
from lib import *
def used(): s = os.statvfs('.'); return (s.f_blocks - s.f_bfree) * s.f_frsize
os.sync(); before = used(); fds = []
for i in range(500): fd = os.open('.', os.O_TMPFILE | os.O_RDWR, 0o600); os.write(fd, b'x' * 8192); fds.append(fd)
os.sync(); grown = used() - before
for fd in fds: os.close(fd)
os.sync()
print(grown >= 500 * 8192, until(lambda: used() - before < 1 << 20))
PY
