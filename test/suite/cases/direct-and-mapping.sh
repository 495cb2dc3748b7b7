# A direct write shows in a mapping, a mapping's write in a direct read.
# groups: direct mmap
python3 - <<'PY'
from lib import *
put('f', b'b' * 16384); d = direct('f'); m = mmap.mmap(os.open('f', os.O_RDWR), 16384); print(m[4096]); os.pwritev(d, [aligned(b'D' * 4096)], 4096); print(m[4096:4098]); m[8192:8195] = b'map'; m.flush(); r = aligned(b'\0' * 4096); os.preadv(d, [r], 8192); print(r[:4])
PY
