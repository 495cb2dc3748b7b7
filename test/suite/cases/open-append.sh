# O_APPEND: every write goes to the end, whatever the position; pwrite as well.
# groups: data create
python3 - <<'PY'
from lib import *
put('f', 'base'); fd = os.open('f', os.O_RDWR | os.O_APPEND)
os.lseek(fd, 0, 0); os.write(fd, b'-one'); os.pwrite(fd, b'-two', 0); print(get('f'), os.lseek(fd, 0, 1))
fcntl.fcntl(fd, fcntl.F_SETFL, 0); os.pwrite(fd, b'B', 0); print(get('f'))
PY
