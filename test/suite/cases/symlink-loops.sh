# Loops of one, two and forty links, and the flags that do not follow.
# groups: symlink errno
python3 - <<'PY'
from lib import *
os.symlink('a', 'a'); os.symlink('c', 'b'); os.symlink('b', 'c')
put('end', 'reached')
os.symlink('end', 's0')
for i in range(1, 45): os.symlink(f's{i-1}', f's{i}')
print(err(os.open, 'a', 0), err(os.stat, 'b'), err(os.stat, 's39'), err(os.stat, 's40'), err(os.open, 's0', os.O_NOFOLLOW), err(os.lstat, 'a'))
PY
