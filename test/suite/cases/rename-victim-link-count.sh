# The victim of a rename loses one link, and its other names stay.
# groups: rename link
python3 - <<'PY'
from lib import *
put('a', 'new'); put('v', 'old'); os.link('v', 'w')
fd = os.open('v', os.O_RDONLY); os.rename('a', 'v')
print(os.fstat(fd).st_nlink, get('w'), get('v')); os.unlink('w'); print(os.fstat(fd).st_nlink, os.read(fd, 10))
PY
