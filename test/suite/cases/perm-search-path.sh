# Without x on a directory nothing behind it is reached, whatever its own mode.
# groups: perm errno
python3 - <<'PY'
from lib import *
needs_root()
os.makedirs('a/b'); put('a/b/f', 'x'); os.chmod('a/b/f', 0o777); os.chmod('.', 0o755); here = os.getcwd()
def body(): print(err(os.stat, 'a/b/f'), err(os.open, 'a/b/f', 0), err(os.link, 'a/b/f', 'a/g'), err(os.chdir, 'a/b'), err(os.stat, 'a/none'))
for m in (0o755, 0o744, 0o711, 0o700): os.chmod('a', m); as_user(body)
PY
