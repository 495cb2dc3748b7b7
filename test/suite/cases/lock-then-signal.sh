# A signal ends the wait for a flock, and the lock is free for the next.
# groups: locks
python3 - <<'PY'
from lib import *
a = os.open('f', os.O_RDWR | os.O_CREAT); fcntl.flock(a, fcntl.LOCK_EX)
def body():
    os.close(a); signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(InterruptedError(errno.EINTR, ''))); signal.setitimer(signal.ITIMER_REAL, 0.2); print(err(fcntl.flock, os.open('f', os.O_RDWR), fcntl.LOCK_EX))
print(in_child(body)); fcntl.flock(a, fcntl.LOCK_UN); print(err(fcntl.flock, os.open('f', os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB))
PY
