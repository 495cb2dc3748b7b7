# A position stays good when entries before it and the entry after it are removed.
# groups: readdir unlink
python3 - <<'PY'
from lib import *
for i in range(300): put(f'f{i:03}')
d = opendir('.'); order = rest(d); libc.rewinddir(d); got = [entry(d) for _ in range(100)]; at = libc.telldir(d)
for n in got[2:]: os.unlink(n)
libc.seekdir(d, ctypes.c_long(at)); print(len(order), rest(d) == order[100:])
PY
