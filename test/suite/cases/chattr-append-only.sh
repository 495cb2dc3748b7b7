# An append-only file takes appends and nothing else.
# groups: chattr perm errno
python3 - <<'PY'
from lib import *
needs_root()
put('f', 'x')
if err(setflags, 'f', 0x20) != 'ok': skip('this filesystem has no append-only flag')
print(err(os.open, 'f', os.O_WRONLY), err(put, 'f', 'y', os.O_APPEND), err(os.open, 'f', os.O_WRONLY | os.O_APPEND | os.O_TRUNC), err(os.truncate, 'f', 0), err(os.unlink, 'f'), err(os.rename, 'f', 'g'), get('f'))
# Now is a time that anybody who may write sets.
print(err(os.utime, 'f'), err(os.utime, 'f', (1, 1)))
setflags('f', getflags('f') & ~0x20); print(err(os.unlink, 'f'))
PY
