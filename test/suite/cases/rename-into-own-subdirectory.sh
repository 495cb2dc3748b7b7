# A directory cannot go below itself, at any depth.
# groups: rename errno
python3 - <<'PY'
from lib import *
os.makedirs('a/b/c/d'); os.mkdir('other')
print(err(os.rename, 'a', 'a/x'), err(os.rename, 'a', 'a/b/c/d/x'), err(os.rename, 'a/b', 'a/b/c/d'), err(os.rename, 'a/b/c/d', 'a'), err(os.rename, 'a/b/c', 'a/b'))
os.rename('a/b/c', 'other/c'); os.rename('a', 'other/c/d/a'); print(sorted(d for d, *_ in os.walk('.')))
PY
