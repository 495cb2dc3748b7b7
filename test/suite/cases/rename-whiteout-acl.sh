# A whiteout is made like any other device: with the access list that its directory's default list says.
# groups: rename acl
python3 - <<'PY'
from lib import *
needs_root()
entry = lambda tag, perm, id=0xffffffff: struct.pack('<HHI', tag, perm, id)
default = struct.pack('<I', 2) + entry(1, 7) + entry(2, 7, 12345) + entry(4, 5) + entry(16, 7) + entry(32, 5)
for named in (False, True):
    name = f'd{named}'; os.mkdir(name)
    if named and err(os.setxattr, name, 'system.posix_acl_default', default) != 'ok': skip('this filesystem has no access lists')
    put(f'{name}/f')
    if err(renameat2, f'{name}/f', f'{name}/g', WHITEOUT) != 'ok': skip('this filesystem has no whiteouts')
    s = os.lstat(f'{name}/f'); print(stat.S_ISCHR(s.st_mode), s.st_rdev, mode(f'{name}/f'), [(n, os.getxattr(f'{name}/f', n).hex()) for n in os.listxattr(f'{name}/f')])
PY
