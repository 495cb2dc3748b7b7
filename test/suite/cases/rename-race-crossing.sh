# Directories are moved across each other in both directions at once, without a deadlock or a loop.
# groups: rename race
python3 - <<'PY'
from lib import *
for n in 'ab': os.makedirs(f'{n}/x{n}/y')
def cross(src, dst):
    for i in range(150): err(os.rename, f'{src}/x{src}', f'{dst}/x{src}'); err(os.rename, f'{dst}/x{src}', f'{src}/x{src}')
def nest():
    for i in range(150): err(os.rename, 'a', 'b/a'); err(os.rename, 'b/a', 'a')
def nest2():
    for i in range(150): err(os.rename, 'b', 'a/b'); err(os.rename, 'a/b', 'b')
print(together([lambda: cross('a', 'b'), lambda: cross('b', 'a'), nest, nest2]))
print(sorted(os.path.basename(d) for d, *_ in os.walk('.'))[1:])
PY
