# A private mapping keeps its writes from the file.
# groups: mmap data
python3 - <<'PY'
from lib import *
put('f', b'x' * 8192); m = mmap.mmap(os.open('f', os.O_RDONLY), 8192, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
m[0:3] = b'new'; print(m[0:4], get('f')[:4])
PY
