# Direct and buffered reads and writes see each other.
# groups: direct data
python3 - <<'PY'
from lib import *
put('f', b'b' * 65536); d = direct('f'); b = os.open('f', os.O_RDWR)
os.pwritev(d, [aligned(b'D' * 4096)], 8192); print(os.pread(b, 2, 8191), os.pread(b, 2, 12287)); os.pwrite(b, b'B' * 100, 20480); m = aligned(b'\0' * 4096); os.preadv(d, [m], 20480); print(m[:100] == b'B' * 100, m[100:102])
PY
