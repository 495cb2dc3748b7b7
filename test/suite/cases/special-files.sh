# FIFOs, sockets and devices work and keep their numbers.
# groups: special
python3 - <<'PY'
from lib import *
os.mkfifo('p'); pid = start(lambda: put('p', 'through the pipe')); print(get('p'), finish(pid)); s = socket.socket(socket.AF_UNIX); s.bind('s'); s.listen(1)
def client(): c = socket.socket(socket.AF_UNIX); c.connect('s'); c.send(b'hi')
pid = start(client); print(s.accept()[0].recv(10), finish(pid), err(os.open, 's', os.O_RDONLY))
PY
