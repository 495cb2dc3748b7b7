# Link counts of directories through making, moving and removing.
# groups: dir link
python3 - <<'PY'
from lib import *
os.makedirs('a/b/c'); os.mkdir('a/d'); print(os.stat('a').st_nlink, os.stat('a/b').st_nlink)
os.rename('a/b/c', 'c'); print(os.stat('a/b').st_nlink, os.stat('.').st_nlink); os.rmdir('a/b'); os.rmdir('a/d'); print(os.stat('a').st_nlink)
PY
