# Targets of 1 to 4,095 bytes come back whole; longer and empty ones are refused.
# groups: symlink
python3 - <<'PY'
from lib import *
for n in (1, 59, 60, 61, 255, 1000, 2048, 4095):
    os.symlink('x' * n, f'l{n}'); print(n, os.readlink(f'l{n}') == 'x' * n, os.lstat(f'l{n}').st_size)
print(err(os.symlink, 'x' * 4096, 'long'), err(os.symlink, '', 'empty'))
PY
