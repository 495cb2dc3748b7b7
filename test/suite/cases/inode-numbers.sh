# Inode numbers are distinct among what exists, and stable through renames.
# groups: create unlink
python3 - <<'PY'
from lib import *
seen = {}
for i in range(500): put(f'f{i}'); seen[f'f{i}'] = os.stat(f'f{i}').st_ino
for i in range(0, 500, 2): os.unlink(f'f{i}'); del seen[f'f{i}']
for i in range(500, 800): put(f'f{i}'); seen[f'f{i}'] = os.stat(f'f{i}').st_ino
os.rename('f1', 'x'); print(len(set(seen.values())) == len(seen), os.stat('x').st_ino == seen['f1'], all(os.stat(n).st_ino == i for n, i in seen.items() if n != 'f1'))
PY
