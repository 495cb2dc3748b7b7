# Four processes rename over one target: it is always there and always whole.
# groups: rename race
python3 - <<'PY'
from lib import *
put('target', b'0' * 100)
def mover(p):
    for i in range(100):
        n = f'tmp{p}'; put(n, str(p).encode() * 100); os.rename(n, 'target')
def reader():
    for i in range(300):
        data = get('target')
        if len(data) != 100 or len(set(data)) != 1: print('torn', data)
jobs = [lambda p=p: mover(p) for p in '1234'] + [reader, reader]
print(together(jobs), os.listdir('.'))
PY
