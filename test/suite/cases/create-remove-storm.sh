# Eight processes create, write, rename and remove in one directory.
# groups: race create unlink
python3 - <<'PY'
from lib import *
def work(p):
    for i in range(60):
        put(f'{p}a', str(i)); os.rename(f'{p}a', f'{p}b'); os.mkdir(f'{p}d'); os.rename(f'{p}b', f'{p}d/f'); assert get(f'{p}d/f') == str(i).encode(); os.unlink(f'{p}d/f'); os.rmdir(f'{p}d')
print(together([lambda p=p: work(p) for p in range(8)]), os.listdir('.'), os.stat('.').st_nlink)
PY
