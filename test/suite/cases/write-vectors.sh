# readv and writev, with empty parts, across pages.
# groups: data
python3 - <<'PY'
from lib import *
fd = os.open('f', os.O_RDWR | os.O_CREAT); print(os.writev(fd, [b'one', b'', b'x' * 5000, b'end'])); parts = [bytearray(2), bytearray(0), bytearray(5001), bytearray(10)]; print(os.preadv(fd, parts, 0), parts[0], parts[2][:2], parts[3][:4])
PY
