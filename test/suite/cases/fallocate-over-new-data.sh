# Blocks of what was just written are counted once, also where they are preallocated before it is written back.
# groups: fallocate statfs
python3 - <<'PY'
from lib import *
fd = os.open('f', os.O_RDWR | os.O_CREAT); os.write(fd, b'x' * 40960)
os.posix_fallocate(fd, 0, 102400); early = os.fstat(fd).st_blocks; os.fsync(fd)
print(early == os.fstat(fd).st_blocks or (early, os.fstat(fd).st_blocks), 200 <= early <= 208, os.pread(fd, 40961, 0) == b'x' * 40960 + b'\0')
PY
