# O_TMPFILE: its flags, its mode, a name for it once, never for O_EXCL.
# groups: create
python3 - <<'PY'
from lib import *
fd = os.open('.', os.O_TMPFILE | os.O_RDWR, 0o640); os.write(fd, b'x'); print(oct(os.fstat(fd).st_mode), os.fstat(fd).st_nlink)
linkat(fd, 'a'); linkat(fd, 'b'); print(os.fstat(fd).st_nlink, sorted(os.listdir('.')))
fd = os.open('.', os.O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o600); print(err(linkat, fd, 'c'), err(os.open, '.', os.O_TMPFILE | os.O_RDONLY), err(os.open, 'none', os.O_TMPFILE | os.O_RDWR))
PY
