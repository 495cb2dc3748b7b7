# What link refuses, by errno.
# groups: link errno
python3 - <<'PY'
from lib import *
put('f'); os.mkdir('d'); put('g')
print(err(os.link, 'f', 'g'), err(os.link, 'none', 'x'), err(os.link, 'f', 'none/x'), err(os.link, 'd', 'x'), err(os.link, 'f', 'g/x'), err(os.link, 'f', 'n' * 256), err(os.link, 'f', 'd'))
PY
