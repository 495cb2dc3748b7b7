# Of six processes that make one directory, one wins; a hundred times.
# groups: dir race create
python3 - <<'PY'
from lib import *
log = os.open('log', os.O_CREAT | os.O_APPEND | os.O_WRONLY)
def work(): os.write(log, b'%d\n' % sum(err(os.mkdir, f'd{i}') == 'ok' for i in range(100)))
print(together([work] * 6), sum(map(int, get('log').split())), os.stat('.').st_nlink)
PY
