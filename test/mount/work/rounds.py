"""A random workload that gives the same tree on every filesystem: `rounds.py work DIRECTORY SEED STEPS` does it and prints what every step answered;
`rounds.py tree DIRECTORY` prints everything of the tree that must be equal."""
import ctypes
import errno
import hashlib
import mmap
import os
import random
import stat
import sys

libc = ctypes.CDLL(None, use_errno=True)


def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), '')


def rename(a, b, flags):
    check(libc.renameat2(-100, os.fsencode(a), -100, os.fsencode(b), flags))


def fallocate(path, mode, offset, length):
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        check(libc.fallocate64(fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)))
    finally:
        os.close(fd)


def write(path, data, offset, flags=0):
    fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | flags, 0o644)
    try:
        os.pwrite(fd, data, offset)
        if len(data) % 7 == 0:
            os.fsync(fd)
    finally:
        os.close(fd)


def map_write(path, data, offset):
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        size = os.fstat(fd).st_size
        if stat.S_ISREG(os.fstat(fd).st_mode) and offset + len(data) <= size:
            with mmap.mmap(fd, size) as m:
                m[offset : offset + len(data)] = data
                m.flush()
    finally:
        os.close(fd)
    # When a mapping's write becomes the file's mtime is each filesystem's own affair.
    os.utime(path, ns=(OLD, OLD))


def truncate(path, size):
    empty = os.stat(path).st_size == 0
    os.truncate(path, size)
    # Of Linux's filesystems tmpfs alone keeps the times of what is empty before and after.
    if empty and size == 0:
        os.utime(path, ns=(OLD, OLD))


OLD = 10**18


def said_of(call, *args):
    """What the call returned, or the name of its error: an ordinary user may not do everything."""
    try:
        return call(*args)
    except OSError as e:
        return errno.errorcode.get(e.errno, str(e.errno))


def content(path):
    with open(path, 'rb') as f:
        return hashlib.sha256(f.read()).hexdigest()


def attributes(path):
    return [(k, hashlib.sha256(os.getxattr(path, k)).hexdigest()[:8]) for k in sorted(os.listxattr(path)) if k.startswith('user.')]


def work(root, seed, steps):
    r = random.Random(seed)
    os.chdir(root)
    os.umask(0o022)

    def dirs():
        return sorted(d for d, *_ in os.walk('.'))

    def name():
        return os.path.join(r.choice(dirs()), f'{r.choice("abcdefgh")}{r.randrange(4)}')

    def there():
        found = sorted(os.path.join(d, n) for d, ds, fs in os.walk('.') for n in ds + fs)
        return r.choice(found) if found and r.random() < 0.9 else name()

    def data():
        return bytes([r.randrange(1, 256)]) * r.choice((1, 10, 100, 4096, 5000, 20000, 70000))

    def at():
        return r.choice((0, 1, 4095, 4096, 10000, 65536, r.randrange(300000)))

    key = lambda: f'user.{r.choice("xyz")}'
    actions = (
        (8, 'create', lambda: (name(), data(), 0, os.O_CREAT | os.O_EXCL), write),
        (8, 'write', lambda: (there(), data(), at()), write),
        (3, 'append', lambda: (there(), data(), 0, os.O_APPEND), write),
        (4, 'truncate', lambda: (there(), at()), truncate),
        (5, 'mkdir', lambda: (name(),), os.mkdir),
        (2, 'rmdir', lambda: (there(),), os.rmdir),
        (5, 'rename', lambda: (there(), name(), 0), rename),
        (3, 'rename', lambda: (there(), there(), 0), rename),
        (2, 'noreplace', lambda: (there(), name(), 1), rename),
        (3, 'exchange', lambda: (there(), there(), 2), rename),
        (3, 'link', lambda: (there(), name()), lambda a, b: os.link(a, b, follow_symlinks=False)),
        (4, 'unlink', lambda: (there(),), os.unlink),
        (3, 'symlink', lambda: (r.choice('xyz') * r.choice((1, 50, 60, 61, 300)), name()), os.symlink),
        (1, 'mkfifo', lambda: (name(),), os.mkfifo),
        (1, 'mknod', lambda: (name(), stat.S_IFCHR | 0o600, os.makedev(r.randrange(300), r.randrange(3000))), os.mknod),
        (4, 'chmod', lambda: (there(), r.randrange(0o10000)), lambda p, m: os.path.islink(p) or os.chmod(p, m)),
        (3, 'chown', lambda: (there(), r.randrange(1000), r.randrange(1000)), os.lchown),
        (4, 'utime', lambda: (there(), r.randrange(-(10**17), 10**18)), lambda p, ns: os.utime(p, ns=(ns, ns), follow_symlinks=False)),
        (5, 'setxattr', lambda: (there(), key(), data()[: r.choice((0, 10, 900))]), lambda p, k, v: os.path.islink(p) or os.setxattr(p, k, v)),
        (2, 'removexattr', lambda: (there(), key()), lambda p, k: os.path.islink(p) or os.removexattr(p, k)),
        (3, 'preallocate', lambda: (there(), r.choice((0, 1)), at(), 1 + at()), fallocate),
        (4, 'punch', lambda: (there(), 3, at(), 1 + at()), fallocate),
        (4, 'map', lambda: (there(), data()[:5000], at()), map_write),
    )
    for step in range(steps):
        _, what, choose, act = r.choices(actions, weights=[a[0] for a in actions])[0]
        args = choose()
        said = said_of(act, *args) or 'ok'
        print(step, what, *(f'[{len(a)}]' if isinstance(a, bytes) else a for a in args), said)
    # A tree that keeps its size: what is too much goes.
    files = sorted(os.path.join(d, n) for d, _, fs in os.walk('.') for n in fs)
    for path in files[60:]:
        said_of(os.unlink, path)


def tree(root):
    os.chdir(root)
    inodes = {}
    for d, ds, fs in os.walk('.'):
        ds.sort()
        for path in sorted(os.path.join(d, n) for n in ['.'] * (d == '.') + ds + fs):
            s = said_of(os.lstat, path)
            if isinstance(s, str):
                print(path, s)
                continue
            kind = stat.S_IFMT(s.st_mode)
            # The first name of an inode stands for it: which names are links of each other must be equal, not the number.
            said = [path, oct(s.st_mode), s.st_uid, s.st_gid, s.st_nlink, 'same as ' + inodes.setdefault(s.st_ino, path)]
            # Times that the workload has set must be kept; others are those of two different moments.
            said.append(s.st_mtime_ns if s.st_mtime_ns <= OLD else 'now')
            if kind == stat.S_IFREG:
                said += [s.st_size, said_of(content, path)]
            elif kind == stat.S_IFLNK:
                said += [s.st_size, os.readlink(path)]
            elif kind == stat.S_IFCHR:
                said.append((os.major(s.st_rdev), os.minor(s.st_rdev)))
            if kind in (stat.S_IFREG, stat.S_IFDIR):
                said.append(said_of(attributes, path))
            print(*said)


if sys.argv[1] == 'work':
    work(sys.argv[2], sys.argv[3], int(sys.argv[4]))
else:
    tree(sys.argv[2])
