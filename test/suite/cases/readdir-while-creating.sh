# A listing during creations has each of the old entries exactly once.
# groups: readdir race
python3 - <<'PY'
from lib import *
for i in range(1000): put(f'old{i:04}')
def creator():
    for i in range(1000): put(f'new{i:04}')
pid = start(creator); bad = 0
for i in range(10):
    seen = [n for n in os.listdir('.') if n.startswith('old')]
    bad += len(seen) != 1000 or len(set(seen)) != 1000
print(bad, finish(pid), len(os.listdir('.')))
PY
