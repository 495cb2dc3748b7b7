# The types that a listing gives, without a stat.
# groups: readdir special
python3 - <<'PY'
from lib import *
put('f'); os.mkdir('d'); os.symlink('x', 'l'); os.mkfifo('p'); s = socket.socket(socket.AF_UNIX); s.bind('s')
for name, kind in sorted(raw_entries('.')): print(name, kind)
PY
