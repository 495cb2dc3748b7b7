# An immutable file can be neither written, renamed, linked nor removed, even by root.
# groups: chattr perm errno
python3 - <<'PY'
from lib import *
needs_root()
put('f', 'x')
if err(setflags, 'f', 0x10) != 'ok': skip('this filesystem has no immutable flag')
print(hex(getflags('f') & 0x10), err(put, 'f', 'y'), err(os.rename, 'f', 'g'), err(os.link, 'f', 'g'), err(os.unlink, 'f'), err(os.chmod, 'f', 0), err(os.truncate, 'f', 0), err(os.setxattr, 'f', 'user.x', b''), err(os.utime, 'f', (1, 1)), get('f')); setflags('f', getflags('f') & ~0x10); print(err(os.unlink, 'f'))
PY
