# A trailing slash asks for a directory.
# groups: rename errno
python3 - <<'PY'
from lib import *
os.mkdir('d'); put('f')
print(err(os.rename, 'f', 'g/'), err(os.rename, 'f/', 'g'), err(os.rename, 'd/', 'e/'), os.path.isdir('e'), err(os.rename, 'e', 'f/'))
PY
