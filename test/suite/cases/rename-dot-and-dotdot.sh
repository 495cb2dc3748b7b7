# '.' and '..' can neither be renamed nor be renamed over.
# groups: rename errno
python3 - <<'PY'
from lib import *
os.makedirs('d/e')
print(err(os.rename, 'd/.', 'x'), err(os.rename, 'd/..', 'x'), err(os.rename, 'd/e', 'd/.'), err(os.rename, 'd/e', 'd/..'), err(os.rename, '.', 'x'))
PY
