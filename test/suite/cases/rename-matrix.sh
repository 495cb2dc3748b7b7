# Renaming each type of file over each other type.
# groups: rename errno
python3 - <<'PY'
from lib import *
def make(kind, name):
    if kind == 'file': put(name, name)
    elif kind == 'dir': os.mkdir(name)
    elif kind == 'full': os.mkdir(name); put(name + '/x')
    elif kind == 'link': os.symlink('nowhere', name)
    elif kind == 'fifo': os.mkfifo(name)
for a in ('file', 'dir', 'full', 'link', 'fifo', 'none'):
    row = []
    for b in ('file', 'dir', 'full', 'link', 'fifo', 'none'):
        os.mkdir('w'); make(a, 'w/a'); make(b, 'w/b')
        row.append(err(os.rename, 'w/a', 'w/b'))
        subprocess.run(['rm', '-rf', 'w'])
    print(f'{a:5}', *row)
PY
