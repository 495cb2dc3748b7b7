# Device nodes keep type and numbers, up to the largest, and only root makes them.
# groups: special perm
python3 - <<'PY'
from lib import *
needs_root()
for kind, major, minor in ((stat.S_IFCHR, 1, 3), (stat.S_IFBLK, 7, 200), (stat.S_IFCHR, 4095, 1048575)): os.mknod('n', kind | 0o640, os.makedev(major, minor)); s = os.stat('n'); print(stat.S_IFMT(s.st_mode) == kind, mode('n'), os.major(s.st_rdev), os.minor(s.st_rdev)); os.unlink('n')
os.mknod('r', stat.S_IFREG | 0o600); print(os.stat('r').st_size); os.chmod('.', 0o777); as_user(lambda: print(err(os.mknod, 'd', stat.S_IFCHR, os.makedev(1, 3)), err(os.mkfifo, 'p')))
PY
