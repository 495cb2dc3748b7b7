# Who may set what: user, trusted and unknown namespaces, on files, links and devices.
# groups: xattr perm errno
python3 - <<'PY'
from lib import *
needs_root()
put('f'); os.symlink('f', 's'); os.mkfifo('p'); os.chmod('.', 0o777); os.chmod('f', 0o666); os.setxattr('f', 'trusted.t', b'root'); print(err(os.setxattr, 's', 'user.x', b'', follow_symlinks=False), err(os.setxattr, 'p', 'user.x', b''), err(os.setxattr, 'f', 'other.x', b''))
def body(): print([x for x in os.listxattr('f') if not x.startswith('security')], err(os.getxattr, 'f', 'trusted.t'), err(os.setxattr, 'f', 'trusted.u', b''), err(os.setxattr, 'f', 'user.u', b'v'))
as_user(body); print(sorted(x for x in os.listxattr('f') if not x.startswith('security')))
PY
