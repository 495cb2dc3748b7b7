# What a rename changes: both directories, and the ctime of the inode.
# groups: rename times
python3 - <<'PY'
from lib import *
os.mkdir('p'); os.mkdir('q'); put('p/f')
names = ('p', 'q')
before = {n: os.stat(n).st_mtime_ns for n in names}; c = os.stat('p/f'); time.sleep(0.02)
os.rename('p/f', 'q/f')
after = os.stat('q/f')
print([os.stat(n).st_mtime_ns > before[n] for n in names], after.st_ctime_ns > c.st_ctime_ns, after.st_mtime_ns == c.st_mtime_ns, after.st_ino == c.st_ino)
PY
