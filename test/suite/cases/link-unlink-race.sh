# Links come and go from four processes; the count ends right.
# groups: link race unlink
python3 - <<'PY'
from lib import *
put('f', 'data')
def work(p):
    for i in range(100): os.link('f', f'{p}-{i}'); os.unlink(f'{p}-{i}')
print(together([lambda p=p: work(p) for p in range(4)]), os.stat('f').st_nlink, os.listdir('.'))
PY
