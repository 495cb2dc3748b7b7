# Exchanging each type of file with each other type.
# groups: rename
python3 - <<'PY'
from lib import *
def make(kind, name):
    if kind == 'file': put(name, name)
    elif kind == 'dir': os.mkdir(name)
    elif kind == 'full': os.mkdir(name); put(name + '/x')
    elif kind == 'link': os.symlink('nowhere', name)
for a in ('file', 'dir', 'full', 'link', 'none'):
    row = []
    for b in ('file', 'dir', 'full', 'link', 'none'):
        os.mkdir('w'); make(a, 'w/a'); make(b, 'w/b')
        before = [os.lstat(p).st_ino if os.path.lexists(p) else None for p in ('w/a', 'w/b')]
        result = err(renameat2, 'w/a', 'w/b', EXCHANGE)
        after = [os.lstat(p).st_ino if os.path.lexists(p) else None for p in ('w/a', 'w/b')]
        row.append(result if result != 'ok' else 'swapped' if after == before[::-1] else 'wrong')
        subprocess.run(['rm', '-rf', 'w'])
    print(f'{a:5}', *row)
PY
