"""What the cases share: system calls that Python does not have, and errors by name. `from lib import *` in a case."""
import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import platform
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, AT_EMPTY_PATH, AT_SYMLINK_FOLLOW = -100, 0x1000, 0x400
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4
KEEP_SIZE, PUNCH_HOLE, COLLAPSE_RANGE, ZERO_RANGE, INSERT_RANGE = 1, 2, 8, 16, 32


def skip(why):
    """Ends the case as one that cannot run here."""
    print('', why, sep='\n', flush=True)
    os._exit(77)


# Errors that have two names, by the one that the manual pages use.
NAMES = {**errno.errorcode, errno.EOPNOTSUPP: 'EOPNOTSUPP', errno.EDEADLK: 'EDEADLK', errno.EAGAIN: 'EAGAIN'}


def err(call, *args, **named):
    """'ok', or the name of the error that the call raised."""
    try:
        call(*args, **named)
        return 'ok'
    except OSError as e:
        return NAMES.get(e.errno, str(e.errno))


def check(result):
    if result < 0:
        n = ctypes.get_errno()
        raise OSError(n, os.strerror(n))
    return result


def raw(name):
    return name if isinstance(name, bytes) else os.fsencode(name)


def renameat2(old, new, flags):
    check(libc.renameat2(AT_FDCWD, raw(old), AT_FDCWD, raw(new), flags))


def linkat(fd_or_path, new, flags=0):
    if isinstance(fd_or_path, int):
        check(libc.linkat(AT_FDCWD, b'/proc/self/fd/%d' % fd_or_path, AT_FDCWD, raw(new), AT_SYMLINK_FOLLOW))
    else:
        check(libc.linkat(AT_FDCWD, raw(fd_or_path), AT_FDCWD, raw(new), flags))


def fallocate(fd, mode, offset, length):
    check(libc.fallocate64(fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)))


def needs_fallocate(mode):
    """Skips where this filesystem has no such mode of fallocate."""
    fd = os.open('.probe', os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, 1 << 20)
    result = err(fallocate, fd, mode, 4096, 4096)
    os.close(fd)
    os.unlink('.probe')
    if result == 'EOPNOTSUPP':
        skip('this filesystem has no such mode of fallocate')


def needs_root():
    if os.geteuid() != 0:
        skip('needs root')


def put(name, data=b'', flags=0, mode=0o644):
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | flags, mode)
    os.write(fd, raw(data))
    os.close(fd)


def get(name):
    with open(name, 'rb') as f:
        return f.read()


def in_child(body):
    """Runs body in another process. What it prints is printed; returns its exit status."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            body()
            status = 0
        finally:
            sys.stdout.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def needs_others():
    """Skips where only who has mounted may use the filesystem: a FUSE mount without allow_other, on which others may not even ask for attributes."""
    if os.geteuid() != 0:
        return
    fd = os.open('.', os.O_PATH)
    pid = os.fork()
    if pid == 0:
        os.setresuid(12345, 12345, 12345)
        os._exit(0 if err(os.fstat, fd) == 'ok' else 1)
    kept_out = os.waitpid(pid, 0)[1] != 0
    os.close(fd)
    if kept_out:
        skip('other users may not enter: mount with allow_other')


def as_user(body, uid=12345, gid=12345, groups=()):
    """Runs body in a process of an ordinary user."""
    needs_others()

    def change():
        os.setgroups(list(groups))
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        body()

    return in_child(change)


def mode(name):
    return '%04o' % stat.S_IMODE(os.lstat(name).st_mode)


class statx_timestamp(ctypes.Structure):
    _fields_ = [('sec', ctypes.c_int64), ('nsec', ctypes.c_uint32), ('pad', ctypes.c_int32)]


class statx_result(ctypes.Structure):
    _fields_ = (
        [(n, ctypes.c_uint32) for n in ('mask', 'blksize')]
        + [('attributes', ctypes.c_uint64)]
        + [(n, ctypes.c_uint32) for n in ('nlink', 'uid', 'gid')]
        + [('mode', ctypes.c_uint16), ('pad', ctypes.c_uint16)]
        + [(n, ctypes.c_uint64) for n in ('ino', 'size', 'blocks', 'attributes_mask')]
        + [(n, statx_timestamp) for n in ('atime', 'btime', 'ctime', 'mtime')]
        + [('rest', ctypes.c_uint64 * 24)]
    )


def statx(name, flags=0):
    buffer = statx_result()
    check(libc.statx(AT_FDCWD, raw(name), flags, 0xFFF, ctypes.byref(buffer)))
    return buffer


def getflags(name):
    fd = os.open(name, os.O_RDONLY)
    try:
        return struct.unpack('l', fcntl.ioctl(fd, 0x80086601, struct.pack('l', 0)))[0]
    finally:
        os.close(fd)


def setflags(name, value):
    fd = os.open(name, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, 0x40086602, struct.pack('l', value))
    finally:
        os.close(fd)


def changes(name, *calls):
    """Which of the times a, m, c of a file each call changes: 'mc', 'c', '' …"""
    said = []
    for call in calls:
        before = os.lstat(name)
        time.sleep(0.02)
        call()
        after = os.lstat(name)
        said.append(''.join(c for c in 'amc' if getattr(before, f'st_{c}time_ns') != getattr(after, f'st_{c}time_ns')) or '-')
    return ' '.join(said)


def start(body):
    """Runs body in another process meanwhile. Returns what finish() wants."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            body()
            status = 0
        finally:
            sys.stdout.flush()
            os._exit(status)
    return pid


def finish(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def together(bodies):
    """Runs each body in a process of its own, all at once. Returns 'done' when each ended well."""
    statuses = [finish(pid) for pid in [start(body) for body in bodies]]
    return 'done' if not any(statuses) else statuses


def until(condition):
    """Whether the condition holds within a few seconds: for what may happen a little later."""
    for _ in range(100):
        if condition():
            return True
        time.sleep(0.05)
    return False


KINDS = {1: 'fifo', 2: 'chr', 4: 'dir', 6: 'blk', 8: 'reg', 10: 'lnk', 12: 'sock'}
SYS_getdents64 = {'x86_64': 217, 'aarch64': 61, 'riscv64': 61}[platform.machine()]


def getdents(path, size=32768):
    """Entries as getdents64 gives them: (inode, position, type, name)."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    buffer = ctypes.create_string_buffer(size)
    while (n := check(libc.syscall(SYS_getdents64, fd, buffer, size))) > 0:
        at = 0
        while at < n:
            ino, position, length, kind = struct.unpack_from('QqHB', buffer.raw, at)
            yield ino, position, KINDS.get(kind, kind), buffer.raw[at + 19 : at + length].split(b'\0')[0].decode()
            at += length
    os.close(fd)


def raw_entries(path, size=32768):
    return [(name, kind) for _, _, kind, name in getdents(path, size)]


def raw_inodes(path):
    return [(name, ino) for ino, _, _, name in getdents(path)]


class dirent(ctypes.Structure):
    _fields_ = [('ino', ctypes.c_uint64), ('off', ctypes.c_int64), ('reclen', ctypes.c_uint16), ('type', ctypes.c_uint8), ('name', ctypes.c_char * 256)]


libc.opendir.restype = ctypes.c_void_p
libc.readdir64.restype = ctypes.POINTER(dirent)
libc.telldir.restype = ctypes.c_long
libc.syscall.restype = ctypes.c_long
libc.copy_file_range.restype = ctypes.c_ssize_t


def opendir(path):
    return ctypes.c_void_p(libc.opendir(raw(path)))


def entry(d):
    """The next name, without '.' and '..'; None at the end."""
    while e := libc.readdir64(d):
        name = e.contents.name.decode()
        if name not in ('.', '..'):
            return name
    return None


def rest(d):
    return list(iter(lambda: entry(d), None))


def seek_everywhere(path):
    """From every position of a directory, in a shuffled order, what follows is what followed before."""
    d = opendir(path)
    order, positions = [], []
    while True:
        positions.append(libc.telldir(d))
        name = entry(d)
        if name is None:
            break
        order.append(name)
    for i in sorted(range(len(order)), key=lambda i: i * 7919 % 1009):
        libc.seekdir(d, ctypes.c_long(positions[i]))
        if entry(d) != order[i]:
            return f'position {i} leads elsewhere'
    return f'{len(order)} positions'


def copy_file_range(source, at, target, to, length):
    a, b = (None if x is None else ctypes.byref(ctypes.c_int64(x)) for x in (at, to))
    return check(libc.copy_file_range(source, a, target, b, ctypes.c_size_t(length), 0))


def record(fd, kind, start, length, wait=False):
    """A POSIX record lock: F_RDLCK, F_WRLCK or F_UNLCK."""
    fcntl.fcntl(fd, fcntl.F_SETLKW if wait else fcntl.F_SETLK, struct.pack('hhqqi4x', kind, 0, start, length, 0))


def ofd(fd, kind, start, length, wait=False):
    """A lock of the open file description."""
    fcntl.fcntl(fd, 38 if wait else 37, struct.pack('hhqqi4x', kind, 0, start, length, 0))


def acl(name, *entries, default=False):
    """Sets an ACL: entries (tag, id, perm). 1 owner, 2 user, 4 group owner, 8 group, 16 mask, 32 other."""
    value = struct.pack('<I', 2) + b''.join(struct.pack('<HHI', tag, perm, who & 0xFFFFFFFF) for tag, who, perm in entries)
    try:
        os.setxattr(name, 'system.posix_acl_default' if default else 'system.posix_acl_access', value)
    except OSError as e:
        if e.errno == errno.EOPNOTSUPP:
            skip('this filesystem has no ACLs')
        raise


def acl_of(name, default=False):
    try:
        value = os.getxattr(name, 'system.posix_acl_default' if default else 'system.posix_acl_access')
    except OSError as e:
        return NAMES[e.errno]
    entries = [struct.unpack_from('<HHI', value, at) for at in range(4, len(value), 8)]
    return [(tag, who if tag in (2, 8) else -1, perm) for tag, perm, who in entries]


def direct(name, flags=os.O_RDWR):
    """Opens for direct I/O, or skips."""
    try:
        return os.open(name, flags | os.O_DIRECT)
    except OSError:
        skip('this filesystem has no direct I/O')


def aligned(data):
    """The data in memory that direct I/O accepts."""
    m = mmap.mmap(-1, len(data))
    m[:] = data
    return m


SYS_io_setup, SYS_io_submit, SYS_io_getevents = {'x86_64': (206, 209, 208)}.get(platform.machine(), (0, 2, 4))


class Aio:
    """Asynchronous I/O of the kernel's own (io_setup, io_submit, io_getevents)."""

    def __init__(self, depth):
        self.context, self.depth = ctypes.c_ulong(0), depth
        check(libc.syscall(SYS_io_setup, depth, ctypes.byref(self.context)))

    def writes(self, fd, pieces):
        """Submits writes of [offset, memory] all at once and waits for them. Returns how many wrote all they should."""
        blocks = [struct.pack('QIIHhIQQqQII', 0, 0, 0, 1, 0, fd, ctypes.addressof(ctypes.c_char.from_buffer(m)), len(m), at, 0, 0, 0) for at, m in pieces]
        blocks = [ctypes.create_string_buffer(block, 64) for block in blocks]
        pointers = (ctypes.c_void_p * len(blocks))(*[ctypes.addressof(block) for block in blocks])
        left = check(libc.syscall(SYS_io_submit, self.context, ctypes.c_long(len(blocks)), pointers))
        events, done = ctypes.create_string_buffer(32 * self.depth), 0
        while left > 0:
            n = check(libc.syscall(SYS_io_getevents, self.context, ctypes.c_long(1), ctypes.c_long(left), events, None))
            done += sum(struct.unpack_from('q', events, i * 32 + 16)[0] > 0 for i in range(n))
            left -= n
        return done
