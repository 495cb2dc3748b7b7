# O_TRUNC empties, also read-only descriptors see it, and O_EXCL files start empty.
# groups: create truncate
python3 - <<'PY'
from lib import *
put('f', 'x' * 10000); fd = os.open('f', os.O_RDONLY); print(len(os.read(fd, 20000)))
os.close(os.open('f', os.O_WRONLY | os.O_TRUNC)); print(os.fstat(fd).st_size, os.pread(fd, 10, 0)); put('f', 'new', os.O_TRUNC); print(os.pread(fd, 10, 0))
PY
