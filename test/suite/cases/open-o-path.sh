# O_PATH: a place, not a file: no reading, but stat, and opening anew.
# groups: create
python3 - <<'PY'
from lib import *
put('f', 'x'); fd = os.open('f', os.O_PATH)
print(err(os.read, fd, 1), os.fstat(fd).st_size, get(f'/proc/self/fd/{fd}')); os.unlink('f'); print(os.fstat(fd).st_nlink)
PY
