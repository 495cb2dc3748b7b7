# What open refuses, by errno.
# groups: create errno
python3 - <<'PY'
from lib import *
put('f', 'x'); os.mkdir('d'); os.mkfifo('p'); sock = socket.socket(socket.AF_UNIX); sock.bind('s')
print(err(os.open, 'd', os.O_WRONLY), err(os.open, 'd', os.O_RDWR), err(os.open, 'd', os.O_CREAT), err(os.open, 'f', os.O_DIRECTORY), err(os.open, 'f/', os.O_RDONLY), err(os.open, 'f/x', os.O_RDONLY))
print(err(os.open, 'none', os.O_RDONLY), err(os.open, 'new/', os.O_CREAT | os.O_WRONLY), err(os.open, 'f', os.O_CREAT | os.O_EXCL), err(os.open, 's', os.O_RDWR), err(os.open, 'p', os.O_WRONLY | os.O_NONBLOCK))
PY
