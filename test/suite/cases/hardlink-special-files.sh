# Symlinks and FIFOs can have several names as well.
# groups: link special
python3 - <<'PY'
from lib import *
os.symlink('target', 's'); os.mkfifo('p')
os.link('s', 's2', follow_symlinks=False); os.link('p', 'p2')
print(os.readlink('s2'), os.lstat('s').st_nlink, os.stat('p').st_nlink, stat.S_ISFIFO(os.stat('p2').st_mode))
PY
