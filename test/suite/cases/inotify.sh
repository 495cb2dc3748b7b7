# inotify reports creations, writes, renames and removals.
# groups: dir
python3 - <<'PY'
from lib import *
fd = libc.inotify_init1(0); libc.inotify_add_watch(fd, b'.', 0x100 | 0x2 | 0x200 | 0x40 | 0x80 | 0x8); put('a', 'x'); os.rename('a', 'b'); os.unlink('b'); data = os.read(fd, 4096); at = 0; said = []
while at < len(data): _, m, _, n = struct.unpack_from('iIII', data, at); said.append((hex(m), data[at + 16:at + 16 + n].rstrip(b'\0').decode())); at += 16 + n
print(said)
PY
