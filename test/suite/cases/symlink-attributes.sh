# Mode, owner and times of a link are its own.
# groups: symlink perm
python3 - <<'PY'
from lib import *
needs_root()
put('t'); os.symlink('t', 's'); os.lchown('s', 12, 34); os.utime('s', ns=(1, 2), follow_symlinks=False)
print(mode('s'), os.lstat('s').st_uid, os.lstat('s').st_gid, os.lstat('s').st_mtime_ns, os.stat('t').st_uid, os.stat('t').st_mtime_ns > 2)
PY
