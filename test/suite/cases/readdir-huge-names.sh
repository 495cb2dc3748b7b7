# Entries of 255 bytes cross every buffer's end rightly.
# groups: readdir
python3 - <<'PY'
from lib import *
names = {f'{i:03}' + 'n' * 252 for i in range(400)}
for n in names: put(n)
print(set(os.listdir('.')) == names, set(n for n, _ in raw_entries('.', 300)) == names | {'.', '..'} )
PY
