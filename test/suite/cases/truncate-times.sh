# truncate changes mtime and ctime, also where the size stays.
# groups: truncate times
python3 - <<'PY'
from lib import *
put('f', 'x' * 10); fd = os.open('f', os.O_RDWR)
print(changes('f', lambda: os.truncate('f', 5), lambda: os.truncate('f', 5), lambda: os.ftruncate(fd, 50), lambda: os.ftruncate(fd, 50)))
PY
