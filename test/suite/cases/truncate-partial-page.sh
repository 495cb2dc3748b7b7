# Cutting inside a page and growing again gives zeroes, for many sizes.
# groups: truncate data
python3 - <<'PY'
from lib import *
bad = []
for size in (0, 1, 511, 512, 4095, 4096, 4097, 8191, 8192, 12000, 65535, 65536):
    put('f', b'y' * 70000, os.O_TRUNC); os.truncate('f', size); os.truncate('f', 70000)
    if get('f') != b'y' * size + b'\0' * (70000 - size): bad.append(size)
print(bad)
PY
