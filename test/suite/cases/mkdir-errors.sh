# What mkdir and rmdir refuse, by errno.
# groups: dir errno
python3 - <<'PY'
from lib import *
os.mkdir('d'); put('f')
print(err(os.mkdir, 'd'), err(os.mkdir, 'f'), err(os.mkdir, 'none/x'), err(os.mkdir, 'f/x'), err(os.mkdir, 'n' * 256), err(os.mkdir, '.'), err(os.mkdir, 'e/'), err(os.rmdir, 'f'), err(os.rmdir, '.'), err(os.rmdir, 'e/'))
PY
