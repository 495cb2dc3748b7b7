# A listing during renames has each of the untouched entries exactly once.
# groups: readdir race rename
python3 - <<'PY'
from lib import *
for i in range(800): put(f'stay{i:04}'); 
for i in range(100): put(f'move{i:04}')
def mover():
    for r in range(4):
        for i in range(100): os.rename(f'move{i:04}', f'gone{i:04}'); os.rename(f'gone{i:04}', f'move{i:04}')
pid = start(mover); bad = 0
for i in range(10): seen = [n for n in os.listdir('.') if n.startswith('stay')]; bad += sorted(seen) != sorted(set(seen)) or len(seen) != 800
print(bad, finish(pid), len(os.listdir('.')))
PY
