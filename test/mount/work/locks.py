"""flock and POSIX record locks between processes, and those of open files: exclusion, waiting, and a wait that a signal ends. Prints what happened, one line each."""
import errno
import fcntl
import os
import signal
import struct
import sys
import threading
import time


class Interrupted(Exception):
    pass


def on_alarm(*_):
    raise Interrupted


held = None


def child(body):
    """Runs body in another process; what it prints goes down a pipe. Returns (pid, read end)."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(r)
        os.dup2(w, 1)
        # A BSD lock belongs to the open file, which a fork shares.
        if held is not None:
            os.close(held)
        try:
            body()
        except BaseException as e:
            print(type(e).__name__, e, flush=True)
        sys.stdout.flush()
        os._exit(0)
    os.close(w)
    return pid, os.fdopen(r)


def said(process):
    pid, pipe = process
    text = pipe.read().strip()
    os.waitpid(pid, 0)
    return text


def fresh():
    return os.open('file', os.O_RDWR | os.O_CREAT, 0o600)


def attempt(fd, take):
    try:
        take(fd)
        return 'taken'
    except OSError as e:
        return errno.errorcode[e.errno].replace('EACCES', 'EAGAIN')
    except Interrupted:
        return 'interrupted'


def interrupted_wait(take):
    fd = fresh()
    signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    return attempt(fd, take)


for name, exclusive, shared, unlock in (
    ('flock', lambda f: fcntl.flock(f, fcntl.LOCK_EX), lambda f: fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB), lambda f: fcntl.flock(f, fcntl.LOCK_UN)),
    ('posix', lambda f: fcntl.lockf(f, fcntl.LOCK_EX), lambda f: fcntl.lockf(f, fcntl.LOCK_SH | fcntl.LOCK_NB), lambda f: fcntl.lockf(f, fcntl.LOCK_UN)),
):
    held = fresh()
    exclusive(held)
    print(name, 'while held:', said(child(lambda: print(attempt(fresh(), shared)))))
    print(name, 'a signal ends the wait:', said(child(lambda: print(interrupted_wait(exclusive)))))
    waiter = child(lambda: print(attempt(fresh(), exclusive)))
    time.sleep(0.3)
    unlock(held)
    print(name, 'after the unlock:', said(waiter))
    exclusive(held)
    waiter = child(lambda: print(attempt(fresh(), exclusive)))
    time.sleep(0.2)
    os.close(held)
    held = None
    print(name, 'after the close:', said(waiter))
    # Whoever waited in vain has left nothing behind.
    print(name, 'free at the end:', said(child(lambda: print(attempt(fresh(), shared)))))

# A killed holder gives its lock back.
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    fcntl.lockf(fresh(), fcntl.LOCK_EX)
    os.write(w, b'x')
    time.sleep(60)
os.read(r, 1)
waiter = child(lambda: print(attempt(fresh(), lambda f: fcntl.lockf(f, fcntl.LOCK_EX))))
time.sleep(0.2)
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
print('posix after the holder was killed:', said(waiter))

# A counter that eight processes raise under the lock loses nothing.
os.pwrite(fresh(), b'000000', 0)


def raise_counter():
    fd = fresh()
    for _ in range(50):
        fcntl.lockf(fd, fcntl.LOCK_EX)
        os.pwrite(fd, b'%06d' % (int(os.pread(fd, 6, 0)) + 1), 0)
        fcntl.lockf(fd, fcntl.LOCK_UN)


for process in [child(raise_counter) for _ in range(8)]:
    said(process)
print('counted', int(os.pread(fresh(), 6, 0)))

# F_GETLK names the conflicting lock.
fd = fresh()
fcntl.lockf(fd, fcntl.LOCK_EX, 20, 10)


def conflicting():
    kind, whence, start, length, pid = struct.unpack('hhqqi4x', fcntl.fcntl(fresh(), fcntl.F_GETLK, struct.pack('hhqqi4x', fcntl.F_RDLCK, 0, 0, 0, 0)))
    print(kind == fcntl.F_WRLCK, start, length, pid == os.getppid())


print('the conflict:', said(child(conflicting)))
fcntl.lockf(fd, fcntl.LOCK_UN)

# A process and an open file that wait for each other: a thread may end that. The process is told of the circle, the open file is not.
F_OFD_SETLKW = 38
opened = fresh()


def opened_has(byte):
    fcntl.fcntl(opened, F_OFD_SETLKW, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, byte, 1, 0))


def opened_drops(byte):
    fcntl.fcntl(opened, F_OFD_SETLKW, struct.pack('hhqqi4x', fcntl.F_UNLCK, 0, byte, 1, 0))


def process_has(byte):
    fcntl.lockf(fd, fcntl.LOCK_EX, 1, byte)


def process_drops(byte):
    fcntl.lockf(fd, fcntl.LOCK_UN, 1, byte)


def later(body, byte):
    thread = threading.Thread(target=body, args=(byte,))
    thread.start()
    time.sleep(0.3)
    return thread


process_has(0)
opened_has(1)
waits = later(opened_has, 0)
print('a process in a circle with an open file:', attempt(1, process_has).replace('EDEADLOCK', 'EDEADLK'))
process_drops(0)
waits.join()
process_has(2)
waits = later(process_has, 0)
ends = threading.Timer(0.3, process_drops, (2,))
ends.start()
print('an open file in a circle with a process:', attempt(2, opened_has).replace('EDEADLOCK', 'EDEADLK'))
opened_drops(0)
ends.join()
waits.join()
os.unlink('file')
