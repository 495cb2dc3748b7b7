# Every byte but '/' and NUL can be in a name, and names come back byte for byte.
# groups: dir create
python3 - <<'PY'
from lib import *
names = [bytes([b]) * 3 for b in range(1, 256) if b not in (47,)] + [b'\xff\xfe\x80', 'ж日本'.encode(), b'n' * 255]
names.remove(b'...'); names.append(b'...')
for n in names: put(os.path.join(b'.', n))
print(sorted(os.listdir(b'.')) == sorted(names)); 
for n in names: os.unlink(os.path.join(b'.', n))
print(os.listdir('.'))
PY
