# statx and stat agree, by name, by descriptor and for a link.
# groups: times statfs
python3 - <<'PY'
from lib import *
put('f', 'x' * 100); os.link('f', 'g'); s, x = os.stat('f'), statx('f'); print(s.st_ino == x.ino, s.st_nlink == x.nlink, s.st_size == x.size, s.st_mode == x.mode, s.st_mtime_ns == x.mtime.sec * 10**9 + x.mtime.nsec, s.st_blocks == x.blocks); os.symlink('f', 'l'); print(stat.S_ISLNK(statx('l', 0x100).mode), stat.S_ISREG(statx('l').mode))
PY
