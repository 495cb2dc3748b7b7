# File capabilities go with a write, a truncation and a change of owner, not with what comes through a mapping, nor with chmod.
# groups: xattr perm mmap
python3 - <<'PY'
from lib import *
import mmap, struct
needs_root()
CAPS = struct.pack('<IIIII', 0x02000001, 1 << 13, 0, 0, 0)
put('f', b'x' * 8192)
def after(change):
    try: os.setxattr('f', 'security.capability', CAPS)
    except OSError: skip('this filesystem has no capabilities')
    change()
    return 'kept' if 'security.capability' in os.listxattr('f') else 'lost'
fd = os.open('f', os.O_RDWR)
def mapped():
    with mmap.mmap(fd, 4096) as m: m[0:1] = b'y'; m.flush()
    os.fsync(fd)
print('mapping', after(mapped), 'chmod', after(lambda: os.chmod('f', 0o700)), 'write', after(lambda: os.pwrite(fd, b'z', 5)))
print('truncate', after(lambda: os.ftruncate(fd, 100)), 'chown', after(lambda: os.chown('f', 1, 1)), 'fallocate', after(lambda: os.posix_fallocate(fd, 0, 5000)))
print(os.pread(fd, 6, 0))
def bits(change):
    os.chown('f', 0, 0); os.chmod('f', 0o6777)
    return after(change), mode('f')
print('setuid of root:', 'write', bits(lambda: os.pwrite(fd, b'z', 5)), 'truncate', bits(lambda: os.ftruncate(fd, 99)), 'fallocate', bits(lambda: os.posix_fallocate(fd, 0, 5000)), 'chown', bits(lambda: os.chown('f', -1, -1)))
PY
