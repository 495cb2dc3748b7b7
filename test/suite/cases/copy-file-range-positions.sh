# Without offsets copy_file_range moves both positions.
# groups: copy data
python3 - <<'PY'
from lib import *
put('a', '0123456789'); a = os.open('a', os.O_RDONLY); b = os.open('b', os.O_RDWR | os.O_CREAT); os.lseek(a, 2, 0); print(copy_file_range(a, None, b, None, 3), os.lseek(a, 0, 1), os.lseek(b, 0, 1), copy_file_range(a, None, b, None, 100), get('b'))
PY
