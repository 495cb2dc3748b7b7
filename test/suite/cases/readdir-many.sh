# 5,000 entries: each is listed once, with its type and its inode number.
# groups: readdir
python3 - <<'PY'
from lib import *
for i in range(5000): os.close(os.open(f'f{i:04}', os.O_CREAT | os.O_WRONLY))
entries = list(os.scandir('.')); print(len(entries), len({e.name for e in entries}), all(e.is_file(follow_symlinks=False) for e in entries))
print(all(e.inode() == os.lstat(e.name).st_ino for e in entries[::97]))
PY
