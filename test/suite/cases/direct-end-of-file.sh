# Direct transfers at and across the end of the file.
# groups: direct data
python3 - <<'PY'
from lib import *
put('f', b'e' * 5000); d = direct('f'); m = aligned(b'\0' * 8192); print(os.preadv(d, [m], 0), m[4999:5001], os.preadv(d, [m], 8192)); os.pwritev(d, [aligned(b'n' * 4096)], 8192); print(os.fstat(d).st_size, get('f')[5000:5002], get('f')[8191:8193])
PY
