# posix_fadvise and readahead change nothing but speed; the data stays right.
# groups: data
python3 - <<'PY'
from lib import *
put('f', bytes(range(256)) * 4096); fd = os.open('f', os.O_RDWR)
for a in (os.POSIX_FADV_SEQUENTIAL, os.POSIX_FADV_RANDOM, os.POSIX_FADV_WILLNEED, os.POSIX_FADV_DONTNEED, os.POSIX_FADV_NOREUSE): os.posix_fadvise(fd, 0, 0, a); print(os.pread(fd, 3, 65536 * 5 + 7), end=' ')
print(err(os.posix_fadvise, fd, 0, 0, 99), get('f') == bytes(range(256)) * 4096)
PY
