"""leaks.py SECONDS: what leaves references behind where one is forgotten: handles of what is gone, names that race, calls that
fail or are interrupted, and processes killed in the middle. Runs in a mounted directory; leaves nothing in it."""
import ctypes, errno, fcntl, os, random, shutil, signal, sys, time
libc = ctypes.CDLL(None, use_errno=True)
O_TMPFILE = getattr(os, 'O_TMPFILE', 0o20200000)
SIZE = 128
control = '.latchfs/control'


def quietly(call, *args):
    """What a call that may well fail returns."""
    try:
        return call(*args)
    except OSError:
        return None


def command(text):
    if os.path.exists(control):
        fd = os.open(control, os.O_WRONLY)
        quietly(os.write, fd, text.encode())
        os.close(fd)


def forked(body):
    """Run `body` in a child. @returns its id"""
    pid = os.fork()
    if pid != 0: return pid
    try:
        body()
    except OSError:
        pass
    finally:
        os._exit(0)


def handle_of(name):
    handle = ctypes.create_string_buffer(8 + SIZE)
    handle[0:4] = SIZE.to_bytes(4, 'little')
    mount = ctypes.c_int()
    return handle if libc.name_to_handle_at(-100, name.encode(), handle, ctypes.byref(mount), 0) == 0 else None


def open_handle(mount, handle, flags=os.O_RDONLY):
    fd = libc.open_by_handle_at(mount, handle, flags)
    return fd if fd >= 0 else None


def make(name, text=b'x'):
    fd = quietly(os.open, name, os.O_CREAT | os.O_RDWR, 0o644)
    if fd is None: return
    quietly(os.write, fd, text)
    quietly(os.close, fd)


def by_handle(top, rng):
    """Handles of files and directories that are removed, moved, or out of every cache."""
    mount = os.open('.', os.O_RDONLY)
    names = [f'{top}/d', f'{top}/d/e', f'{top}/d/e/f', f'{top}/d/g', f'{top}/d/e/h']
    os.makedirs(names[1], exist_ok=True)
    for name in names[2:4]: make(name)
    quietly(os.mkdir, names[4])
    handles = [handle for handle in map(handle_of, names) if handle is not None]
    if rng.random() < 0.7: command('drop_caches 3\n')
    fds = [open_handle(mount, handle) for handle in reversed(handles)]
    if rng.random() < 0.5:
        for fd in fds:
            if fd is not None: os.close(fd)
        fds = []
    if rng.random() < 0.5: quietly(os.rename, names[1], f'{top}/moved')
    if rng.random() < 0.5: command('drop_caches 2\n')
    shutil.rmtree(f'{top}/d', ignore_errors=True)
    fds += [open_handle(mount, handle) for handle in handles]
    if rng.random() < 0.5: command('drop_caches 3\n')
    fds += [open_handle(mount, handle) for handle in handles]
    for fd in fds:
        if fd is None: continue
        quietly(os.listdir, fd)
        quietly(os.fstat, fd)
        quietly(os.stat, f'/proc/self/fd/{fd}/..')
        os.close(fd)
    shutil.rmtree(f'{top}/moved', ignore_errors=True)
    os.close(mount)


def names(top, rng):
    """Names that come and go under other processes' feet."""
    at = lambda: f'{top}/{rng.randrange(6)}'
    for _ in range(40):
        what = rng.randrange(12)
        if what < 2: make(at())
        elif what == 2: quietly(os.unlink, at())
        elif what == 3: quietly(os.rename, at(), at())
        elif what == 4: quietly(os.link, at(), at())
        elif what == 5: quietly(os.stat, at())
        elif what == 6: quietly(lambda: [entry.stat() for entry in os.scandir(top)])
        elif what == 7: quietly(os.mkdir, at())
        elif what == 8: quietly(os.rmdir, at())
        elif what == 9: quietly(os.symlink, 'target', at())
        else:
            fd = quietly(os.open, at(), os.O_RDWR)
            if fd is None: continue
            make(f'{top}/over')
            quietly(os.rename, f'{top}/over', at())
            quietly(os.write, fd, b'gone')
            quietly(os.link, f'/proc/self/fd/{fd}', at())
            os.close(fd)


def failed(top, rng):
    """Opens and creates that fail, and unnamed files."""
    make(f'{top}/there')
    fd = quietly(os.open, f'{top}/there', os.O_CREAT | os.O_EXCL | os.O_RDWR)
    if fd is not None: os.close(fd)
    for flags in (os.O_DIRECTORY, os.O_CREAT | os.O_DIRECTORY, os.O_CREAT | os.O_NOFOLLOW):
        os.path.lexists(f'{top}/sym') or quietly(os.symlink, 'there', f'{top}/sym')
        fd = quietly(os.open, f'{top}/sym', flags | os.O_RDONLY)
        if fd is not None: os.close(fd)
    quietly(os.open, f'{top}/' + 'n' * 256, os.O_CREAT | os.O_RDWR)
    for linked in (False, True, False):
        fd = quietly(os.open, top, O_TMPFILE | os.O_RDWR)
        if fd is None: continue
        quietly(os.write, fd, b't' * 5000)
        if linked: quietly(lambda: os.link(f'/proc/self/fd/{fd}', f'{top}/named', follow_symlinks=True))
        os.close(fd)
    quietly(os.mkfifo, f'{top}/fifo')
    if os.geteuid() == 0:
        def other():
            os.setgid(4321), os.setuid(4321)
            for flags in (os.O_RDWR, os.O_CREAT | os.O_RDWR, os.O_RDWR | os.O_TRUNC, os.O_CREAT | os.O_EXCL | os.O_RDWR):
                quietly(os.open, f'{top}/there', flags), quietly(os.open, f'{top}/new', flags)
            quietly(os.open, top, O_TMPFILE | os.O_RDWR)
            quietly(os.mkdir, f'{top}/new'), quietly(os.unlink, f'{top}/there')
        os.waitpid(forked(other), 0)
    for name in ('there', 'sym', 'named', 'fifo'): quietly(os.unlink, f'{top}/{name}')


def waits(top, rng):
    """Waits for locks that a signal ends, or a kill; descriptors that the dead left locked."""
    make(f'{top}/lock')
    fd = os.open(f'{top}/lock', os.O_RDWR)
    fcntl.lockf(fd, fcntl.LOCK_EX)
    fcntl.flock(fd, fcntl.LOCK_EX)
    def wait(lock):
        signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
        signal.setitimer(signal.ITIMER_REAL, 0.001 + rng.random() / 20)
        lock(os.open(f'{top}/lock', os.O_RDWR), fcntl.LOCK_EX)
    children = [forked(lambda: wait(lock)) for lock in (fcntl.lockf, fcntl.flock)]
    time.sleep(rng.random() / 20)
    os.kill(children[0], signal.SIGKILL)
    if rng.random() < 0.5: quietly(os.unlink, f'{top}/lock')
    for pid in children: os.waitpid(pid, 0)
    os.close(fd)
    quietly(os.unlink, f'{top}/lock')


def frozen(top, rng):
    """Creates, writes and removals that wait for a thaw, some of them killed."""
    make(f'{top}/cold')
    command('freeze\n')
    calls = (lambda: make(f'{top}/ice'), lambda: os.unlink(f'{top}/cold'), lambda: os.open(top, O_TMPFILE | os.O_RDWR),
             lambda: os.mkdir(f'{top}/floe'), lambda: os.truncate(f'{top}/cold', 0))
    children = [forked(call) for call in calls]
    time.sleep(0.05)
    for pid in children[::2]: os.kill(pid, signal.SIGKILL)
    time.sleep(0.02)
    command('thaw\n')
    for pid in children: os.waitpid(pid, 0)


def full(top, rng):
    """Creates and writes without room."""
    for i in range(1):
        fd = quietly(os.open, f'{top}/big{i}', os.O_CREAT | os.O_RDWR)
        if fd is None: continue
        free = os.fstatvfs(fd)
        quietly(os.posix_fallocate, fd, 0, free.f_bavail * free.f_bsize)
        quietly(os.posix_fallocate, fd, 0, max(1, free.f_bavail - 200) * free.f_bsize)
        # Where the kernel keeps dirty data, no write is told that there is no room.
        for _ in range(free.f_bfree * free.f_bsize // 65536 + 16):
            if not quietly(os.write, fd, b'f' * 65536): break
        for j in range(20):
            make(f'{top}/more{j}', b'm' * 4096), quietly(os.mkdir, f'{top}/deep{j}'), quietly(os.symlink, 'l' * 4000, f'{top}/long{j}')
            held = quietly(os.open, top, O_TMPFILE | os.O_RDWR)
            if held is not None: os.close(held)
        os.close(fd)
        quietly(os.unlink, f'{top}/big{i}')
    shutil.rmtree(top, ignore_errors=True)
    os.makedirs(top, exist_ok=True)


def round_of(kind, top, seed):
    """One round in a child. `names` is done by several in one directory, and some are killed in the middle."""
    rng = random.Random(seed)
    pids = []
    for i in range(3 if kind is names else 1):
        def work():
            here = top if kind is names else f'{top}/own'
            os.makedirs(here, exist_ok=True)
            mine = random.Random(seed * 10 + i)
            for _ in range(1 if kind is full else 3): kind(here, mine)
        pids.append(forked(work))
    if kind is not frozen and rng.random() < 0.4:
        time.sleep(rng.random() * 0.2)
        for pid in pids: os.kill(pid, signal.SIGKILL)
    for pid in pids: os.waitpid(pid, 0)
    shutil.rmtree(top, ignore_errors=True)


def main():
    kinds = [by_handle, names, failed, waits, full] + ([frozen] if os.path.exists(control) else [])
    if len(sys.argv) > 3: kinds = [kind for kind in kinds if kind.__name__ in sys.argv[3].split(',')]
    before = os.statvfs('.')
    end, seed = time.monotonic() + float(sys.argv[1]), int(sys.argv[2])
    workers = []
    for kind in kinds:
        pid = os.fork()
        if pid == 0:
            number = seed
            try:
                while time.monotonic() < end:
                    quietly(os.makedirs, kind.__name__)
                    round_of(kind, kind.__name__, number)
                    number += 1
                os._exit(0)
            finally:
                os._exit(1)
        workers.append(pid)
    bad = [kind.__name__ for kind, pid in zip(kinds, workers) if os.waitpid(pid, 0)[1] != 0]
    for kind in kinds: shutil.rmtree(kind.__name__, ignore_errors=True)
    left = [name for name in os.listdir('.') if not name.startswith('.latchfs')]
    def used(): return (lambda st: st.f_files - st.f_ffree)(os.statvfs('.'))
    # What was open in who was killed is closed a little later.
    for _ in range(200):
        if used() == before.f_files - before.f_ffree: break
        time.sleep(0.05)
    else: sys.exit(f'{used()} inodes in use, and {before.f_files - before.f_ffree} before')
    if bad or left: sys.exit(f'failed: {bad}, left: {left}')


main()
