# Which mappings a descriptor allows.
# groups: mmap perm errno
python3 - <<'PY'
from lib import *
put('f', 'x' * 4096); r = os.open('f', os.O_RDONLY); w = os.open('f', os.O_WRONLY)
print(err(mmap.mmap, r, 4096, prot=mmap.PROT_READ), err(mmap.mmap, r, 4096), err(mmap.mmap, w, 4096, prot=mmap.PROT_READ), err(mmap.mmap, r, 4096, flags=mmap.MAP_PRIVATE))
PY
