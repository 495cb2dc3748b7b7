# st_blocks counts what is stored: nothing, a byte, a hole, a megabyte.
# groups: statfs data
python3 - <<'PY'
from lib import *
put('e'); put('b', 'x' * 5000); put('m', b'x' * (1 << 20)); fd = os.open('h', os.O_RDWR | os.O_CREAT); os.ftruncate(fd, 1 << 20); os.sync()
print([os.stat(n).st_blocks for n in 'eh'], 16 <= os.stat('b').st_blocks <= 24, 2048 <= os.stat('m').st_blocks <= 2080, os.stat('m').st_blksize >= 512)
PY
