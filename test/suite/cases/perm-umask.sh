# The umask applies to files, directories, FIFOs and nameless files.
# groups: perm create
python3 - <<'PY'
from lib import *
for u in (0, 0o22, 0o77, 0o777):
    os.umask(u); put(f'f{u}', mode=0o777); os.mkdir(f'd{u}'); os.mkfifo(f'p{u}', 0o666); fd = os.open('.', os.O_TMPFILE | os.O_RDWR, 0o666); print('%03o' % u, mode(f'f{u}'), mode(f'd{u}'), mode(f'p{u}'), oct(os.fstat(fd).st_mode & 0o777))
PY
