"""Random system calls on a mount, until time is up: load.py DIRECTORY SEED SECONDS. Prints how many calls were made, and how many were refused, with which errnos.

They may fail in every way but those that say that the filesystem itself is broken: then it ends with status 1 and says what happened."""
import ctypes, errno, fcntl, json, mmap, os, random, signal, struct, sys, time

directory, seed, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
os.chdir(directory)
rnd = random.Random(seed)
libc = ctypes.CDLL(None, use_errno=True)
fds, maps = [], []
BROKEN = {errno.EIO, errno.ENOTCONN, errno.EUCLEAN, errno.ENOSYS, errno.EDEADLK}


def path():
    top = f"d{rnd.randrange(3)}"
    kind = rnd.randrange(8)
    if kind == 0:
        return top
    if kind == 1:
        return f"{top}/e{rnd.randrange(3)}"
    if kind < 4:
        return f"{top}/e{rnd.randrange(3)}/f{rnd.randrange(6)}"
    return f"{top}/f{rnd.randrange(6)}"


def fd():
    return rnd.choice(fds) if fds else -1


def place():
    return rnd.randrange(200_000) if rnd.randrange(2) else max(0, rnd.randrange(50) * 4096 + rnd.randrange(3) - 1)


def some(most):
    return bytes([rnd.randrange(256)]) * (1 + rnd.randrange(most))


def call(name, *args):
    result = getattr(libc, name)(*args)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def opened(new):
    fds.append(new)
    if len(fds) > 6:
        os.close(fds.pop(0))


def open_file():
    how = rnd.choice([os.O_CREAT, os.O_CREAT, os.O_CREAT | os.O_EXCL, os.O_TRUNC, os.O_APPEND | os.O_CREAT, os.O_DIRECT, os.O_SYNC])
    opened(os.open(path(), os.O_RDWR | os.O_NONBLOCK | how, 0o644))


def tmpfile():
    new = os.open(f"d{rnd.randrange(3)}", os.O_TMPFILE | os.O_RDWR, 0o600)
    opened(new)
    os.link(f"/proc/self/fd/{new}", path(), follow_symlinks=True)


def close():
    if fds:
        os.close(fds.pop(rnd.randrange(len(fds))))


def fallocate():
    if rnd.randrange(2):
        offset, length = rnd.randrange(30) * 4096, (1 + rnd.randrange(20)) * 4096
    else:
        offset, length = place(), 1 + rnd.randrange(60_000)
    mode = rnd.choice([0, 1, 3, 0x8, 0x10, 0x11, 0x20])
    call("fallocate", fd(), mode, ctypes.c_long(offset), ctypes.c_long(length))


def rename():
    call("renameat2", -100, path().encode(), -100, path().encode(), rnd.choice([0, 0, 1, 2]))


def listing():
    with os.scandir(path()) as entries:
        for entry in entries:
            entry.is_dir()


def map_file():
    length = (1 + rnd.randrange(20)) * 4096
    # Only what is there: behind the end there is SIGBUS.
    one = fd()
    size = os.fstat(one).st_size
    if size:
        maps.append((one, mmap.mmap(one, min(length, size), rnd.choice([mmap.MAP_SHARED, mmap.MAP_PRIVATE]))))


def in_map():
    if not maps:
        return
    _, area = rnd.choice(maps)
    at = rnd.randrange(len(area))
    most = min(len(area) - at, 1 + rnd.randrange(9000))
    kind = rnd.randrange(4)
    # Somebody may truncate the file meanwhile; a child dies of the SIGBUS for us.
    child = os.fork()
    if child == 0:
        try:
            if kind == 0:
                area[at : at + most] = some(1)[:1] * most
            elif kind == 1:
                area.flush()
            else:
                bytes(area[at : at + most])
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def unmap():
    if maps:
        maps.pop(rnd.randrange(len(maps)))[1].close()


def lock():
    kind = rnd.choice([fcntl.LOCK_SH, fcntl.LOCK_EX, fcntl.LOCK_UN])
    fcntl.lockf(fd(), kind | fcntl.LOCK_NB, 1 + rnd.randrange(50), rnd.randrange(50))


def wait_for_lock():
    """A signal ends the wait, if nobody gives the lock back before; where others wait for what this process has locked, none begins."""
    one = fd()
    signal.setitimer(signal.ITIMER_REAL, 0.005)
    try:
        fcntl.lockf(one, fcntl.LOCK_EX, 20, rnd.randrange(50))
    except InterruptedError:
        pass
    except OSError as error:
        if error.errno != errno.EDEADLK:
            raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    fcntl.lockf(one, fcntl.LOCK_UN)


class Alarm(InterruptedError):
    pass


def alarm(*_):
    raise Alarm(errno.EINTR, "alarm")


signal.signal(signal.SIGALRM, alarm)


def fiemap():
    fcntl.ioctl(fd(), 0xC020660B, bytearray(struct.pack("QQIIII", 0, 1 << 40, rnd.randrange(2), 0, 4, 0) + bytes(4 * 56)))


def control():
    with open(".latchfs/control", "w") as file:
        file.write(rnd.choice(["sync", "drop_caches 1", "drop_caches 2", "drop_caches 3"]) + "\n")


CALLS = [
    (14, open_file), (2, tmpfile), (8, close), (5, listing), (6, fallocate), (8, rename),
    (4, lambda: os.mkdir(f"d{rnd.randrange(3)}/e{rnd.randrange(3)}")),
    (3, lambda: os.rmdir(f"d{rnd.randrange(3)}/e{rnd.randrange(3)}")),
    (6, lambda: os.unlink(path())), (4, lambda: os.link(path(), path())), (2, lambda: os.symlink(path(), path())),
    (2, lambda: os.readlink(path())), (8, lambda: os.stat(path())), (2, lambda: os.access(path(), rnd.randrange(8))),
    (16, lambda: os.pwrite(fd(), some(rnd.choice([100, 5000, 40_000])), place())), (6, lambda: os.write(fd(), some(9000))),
    (14, lambda: os.pread(fd(), 1 + rnd.randrange(60_000), place())),
    (3, lambda: os.lseek(fd(), rnd.randrange(100_000), rnd.choice([0, os.SEEK_HOLE, os.SEEK_DATA]))),
    (5, lambda: os.ftruncate(fd(), place())), (2, lambda: os.truncate(path(), place())),
    (3, lambda: os.fsync(fd())), (3, lambda: os.fdatasync(fd())), (1, os.sync),
    (3, lambda: os.copy_file_range(fd(), fd(), rnd.randrange(50_000), place(), place())),
    (2, lambda: os.sendfile(fd(), fd(), place(), rnd.randrange(20_000))),
    (2, lambda: os.posix_fadvise(fd(), place(), rnd.randrange(50_000), rnd.randrange(6))),
    (5, map_file), (8, in_map), (4, unmap), (4, lock), (2, wait_for_lock), (2, fiemap), (1, control),
    (3, lambda: fcntl.flock(fd(), rnd.choice([fcntl.LOCK_SH, fcntl.LOCK_EX, fcntl.LOCK_UN]) | fcntl.LOCK_NB)),
    (2, lambda: os.chmod(path(), 0o600 + rnd.randrange(64))), (2, lambda: os.lchown(path(), rnd.randrange(3), rnd.randrange(3))),
    (1, lambda: os.utime(path(), ns=(rnd.randrange(10**12), rnd.randrange(10**12)))), (1, lambda: os.statvfs(path())),
    (4, lambda: os.setxattr(path(), f"user.{rnd.randrange(5)}", some(rnd.choice([50, 3000])))),
    (2, lambda: os.getxattr(path(), f"user.{rnd.randrange(5)}")), (2, lambda: os.listxattr(path())),
    (2, lambda: os.removexattr(path(), f"user.{rnd.randrange(5)}")),
]
weights = [weight for weight, _ in CALLS]
bodies = [body for _, body in CALLS]
made, refused = 0, 0
end = time.monotonic() + seconds
while time.monotonic() < end:
    (body,) = rnd.choices(bodies, weights)
    made += 1
    try:
        body()
    except (OSError, ValueError) as error:
        # EDEADLK is for circles of record locks: who waits for one knows that; elsewhere it is ours.
        if isinstance(error, OSError) and error.errno in BROKEN:
            import inspect
            print(f"{inspect.getsource(body).strip()[:80]}: {error}", file=sys.stderr)
            sys.exit(1)
        refused += 1
print(json.dumps({"made": made, "refused": refused}))
