# A directory that is renamed over stays open, empty and without a name.
# groups: rename dir
python3 - <<'PY'
from lib import *
os.mkdir('a'); os.mkdir('b'); fd = os.open('b', os.O_RDONLY)
os.rename('a', 'b'); print(os.listdir(fd), os.fstat(fd).st_nlink)
print(err(os.open, 'x', os.O_CREAT | os.O_WRONLY, dir_fd=fd), err(os.mkdir, 'x', dir_fd=fd))
PY
