# What unlink refuses, by errno.
# groups: unlink errno
python3 - <<'PY'
from lib import *
os.mkdir('d'); put('f')
print(err(os.unlink, 'd'), err(os.unlink, 'none'), err(os.unlink, 'f/'), err(os.unlink, 'f/x'), err(os.unlink, '.'), err(os.unlink, 'n' * 256), err(os.unlink, 'd/'))
PY
