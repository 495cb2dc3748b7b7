# sendfile from a file to a file, and to a pipe.
# groups: copy data
python3 - <<'PY'
from lib import *
put('a', 'x' * 30000); a = os.open('a', os.O_RDONLY); b = os.open('b', os.O_RDWR | os.O_CREAT); print(os.sendfile(b, a, 10, 20000), os.fstat(b).st_size); r, w = os.pipe(); print(os.splice(a, w, 4096), len(os.read(r, 10000)))
PY
