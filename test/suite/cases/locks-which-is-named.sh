# Of several locks in the way F_GETLK names the one that Linux names: of who came first, and of his the first in the file.
# groups: locks
python3 - <<'PY'
from lib import *
put('f', 'x' * 100); layout = 'hhqqi'
def other():
    """A process that takes locks as it is told, and drops all of them at its end."""
    here, there = socket.socketpair()
    if os.fork() == 0:
        here.close(); fd = os.open('f', os.O_RDWR)
        while line := there.recv(100):
            kind, start, length = line.split(); fcntl.fcntl(fd, fcntl.F_SETLK, struct.pack(layout, int(kind), 0, int(start), int(length), 0)); there.send(b'.')
        os._exit(0)
    there.close()
    return here
def lock(process, kind, start, length): process.send(b'%d %d %d' % (kind, start, length)); process.recv(1)
fd = os.open('f', os.O_RDWR); first, second = other(), other()
def named(kind=fcntl.F_WRLCK, start=0, length=0): return struct.unpack(layout, fcntl.fcntl(fd, fcntl.F_GETLK, struct.pack(layout, kind, 0, start, length, 0)))[:4]
READ, WRITE, NONE = fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK
lock(first, WRITE, 50, 5); lock(second, WRITE, 20, 5); print(named()); lock(first, WRITE, 60, 5); lock(first, WRITE, 10, 5); print(named(), named(WRITE, 12), named(WRITE, 15), named(WRITE, 15, 10))
lock(first, READ, 10, 5); print(named(), named(READ)); lock(first, NONE, 10, 5); print(named()); lock(first, NONE, 52, 1); print(named(), named(WRITE, 52)); lock(first, NONE, 0, 0); lock(first, READ, 0, 5); print(named(), named(READ))
PY
