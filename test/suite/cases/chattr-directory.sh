# In an append-only directory names come and do not go; an immutable one keeps still.
# groups: chattr dir perm
python3 - <<'PY'
from lib import *
needs_root()
os.mkdir('d'); put('d/f')
if err(setflags, 'd', 0x20) != 'ok': skip('this filesystem has no append-only flag')
print(err(put, 'd/g'), err(os.unlink, 'd/f'), err(os.rename, 'd/f', 'd/h')); setflags('d', getflags('d') & ~0x20 | 0x10); print(err(put, 'd/h'), err(os.unlink, 'd/f'), err(put, 'd/f', 'x'), err(os.mkdir, 'd/e')); setflags('d', getflags('d') & ~0x10)
PY
