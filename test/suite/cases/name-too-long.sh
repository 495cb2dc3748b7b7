# Names of 255 bytes and paths of 4,095 work; one more does not.
# groups: errno create
python3 - <<'PY'
from lib import *
put('n' * 255); print(err(put, 'n' * 256), err(os.stat, 'n' * 256))
path = './' * 2047 + 'n'; print(len(path), err(os.stat, path), err(os.stat, './' + path))
PY
