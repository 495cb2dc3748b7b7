# copy_file_range between files, within one, beyond the end, and its refusals.
# groups: copy data
python3 - <<'PY'
from lib import *
put('a', bytes(range(256)) * 400); a = os.open('a', os.O_RDWR); b = os.open('b', os.O_RDWR | os.O_CREAT)
print(copy_file_range(a, 100, b, 5, 50000), get('b')[5:] == get('a')[100:50100], get('b')[:5]); print(copy_file_range(a, 102000, b, 0, 10000), copy_file_range(a, 200000, b, 0, 10), copy_file_range(a, 0, a, 200000, 1000), get('a')[200000:] == get('a')[:1000])
r = os.open('b', os.O_RDONLY); print(err(copy_file_range, a, 0, r, 0, 10), err(copy_file_range, a, 0, a, 5, 10), err(copy_file_range, a, -1, b, 0, 10), err(copy_file_range, a, 0, os.open('.', os.O_RDONLY), 0, 10))
PY
