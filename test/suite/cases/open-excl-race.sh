# O_EXCL: of eight processes that create one name, one wins; a hundred times.
# groups: create race
python3 - <<'PY'
from lib import *
def work():
    won = 0
    for i in range(100):
        try: os.close(os.open(f'f{i}', os.O_CREAT | os.O_EXCL | os.O_WRONLY)); won += 1
        except FileExistsError: pass
    os.write(log, b'%d\n' % won)
log = os.open('log', os.O_CREAT | os.O_APPEND | os.O_WRONLY)
print(together([work] * 8), sum(map(int, get('log').split())))
PY
