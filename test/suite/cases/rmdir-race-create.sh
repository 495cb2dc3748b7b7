# One process removes a directory, another fills it: it is never lost with a file in it.
# groups: dir race
python3 - <<'PY'
from lib import *
def remover():
    for i in range(300): err(os.rmdir, 'd')
def creator():
    kept = 0
    for i in range(300):
        err(os.mkdir, 'd')
        try: put('d/f', 'x')
        except OSError: continue
        if err(os.rmdir, 'd') == 'ok': print('removed a full directory')
        os.unlink('d/f')
print(together([remover, creator]))
PY
