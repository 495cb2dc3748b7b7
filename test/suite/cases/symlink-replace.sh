# What opens and creations do with a symlink in the last place.
# groups: symlink create errno
python3 - <<'PY'
from lib import *
os.symlink('target', 's')
print(err(os.open, 's', os.O_CREAT | os.O_EXCL | os.O_WRONLY), err(os.mkdir, 's'), err(os.symlink, 'x', 's'), err(os.mkfifo, 's'))
put('s', 'through'); print(get('target'), os.path.islink('s'))
PY
