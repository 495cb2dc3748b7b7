# rewinddir shows what was created and removed since.
# groups: readdir
python3 - <<'PY'
from lib import *
put('a'); d = opendir('.'); first = sorted(rest(d)); put('b'); os.unlink('a'); libc.rewinddir(d); print(first, sorted(rest(d)))
PY
