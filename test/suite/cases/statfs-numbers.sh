# What statvfs says goes down with a file and up again without it.
# groups: statfs
python3 - <<'PY'
from lib import *
def s(): os.sync(); return os.statvfs('.')
a = s(); put('f', b'x' * (4 << 20)); b = s(); os.unlink('f'); print(a.f_namemax, a.f_bsize, a.f_bfree <= a.f_blocks, a.f_bavail <= a.f_bfree, (a.f_bfree - b.f_bfree) * a.f_frsize >= 4 << 20, until(lambda: (a.f_bfree - s().f_bfree) * a.f_frsize < 1 << 20))
PY
