# telldir and seekdir: from every position the rest follows.
# groups: readdir
python3 - <<'PY'
from lib import *
for i in range(500): put(f'f{i:03}')
print(seek_everywhere('.'))
PY
