# An append after another descriptor's truncation goes to the new end.
# groups: data truncate
python3 - <<'PY'
from lib import *
put('f', 'x' * 100); a = os.open('f', os.O_WRONLY | os.O_APPEND); b = os.open('f', os.O_RDWR)
os.write(a, b'1'); os.ftruncate(b, 3); os.write(a, b'2'); print(get('f'))
PY
