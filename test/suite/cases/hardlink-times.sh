# A link changes the ctime of the file and the times of the directory.
# groups: link times
python3 - <<'PY'
from lib import *
put('f'); os.mkdir('d')
print(changes('f', lambda: os.link('f', 'd/g'), lambda: os.unlink('d/g')), changes('d', lambda: os.link('f', 'd/g')))
PY
