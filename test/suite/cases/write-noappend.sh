# RWF_NOAPPEND writes where it says, also through a file opened to append; large appends lose nothing.
python3 - <<'PY'
from lib import *
fd = os.open('f', os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644); os.write(fd, b'0123456789')
try: os.pwritev(fd, [b'ab'], 2, 0x20)
except OSError: skip('this kernel has no RWF_NOAPPEND')
print(get('f')); print(os.pwrite(fd, b'end', 0), get('f')); os.pwritev(fd, [b'far'], 20, 0x20); print(get('f'))
big = os.urandom(5 << 20); os.write(fd, big); print(get('f')[23:] == big)
try: direct = os.open('f', os.O_WRONLY | os.O_APPEND | os.O_DIRECT)
except OSError: direct = os.open('f', os.O_WRONLY | os.O_APPEND)
os.truncate('f', 4096); block = mmap.mmap(-1, 5 << 20); block.write(big); os.write(direct, block); print(get('f')[4096:] == big)
PY
