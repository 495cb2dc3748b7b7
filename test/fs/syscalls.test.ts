/** Processes of ours on latch: system calls end to end, with results as Linux gives them. */

import t, { type Test } from 'tap';
import { SB_NOATIME, SB_RDONLY } from '../../src/fs/super-block.js';
import { Process, type Syscalls, syscalls } from '../../src/fs/syscalls.js';
import {
  FALLOC_FL_COLLAPSE_RANGE,
  FALLOC_FL_INSERT_RANGE,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
} from '../../src/uapi/falloc.js';
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_REMOVEDIR,
  AT_SYMLINK_NOFOLLOW,
  FASYNC,
  LOCK_EX,
  LOCK_NB,
  LOCK_SH,
  LOCK_UN,
  O_APPEND,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDWR,
  O_TMPFILE,
  O_TRUNC,
  O_WRONLY,
  RESOLVE_BENEATH,
  RESOLVE_CACHED,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_SYMLINKS,
} from '../../src/uapi/fcntl.js';
import { FIEMAP_EXTENT_LAST, FIEMAP_EXTENT_UNWRITTEN, FIEMAP_FLAG_SYNC } from '../../src/uapi/fiemap.js';
import { SEEK_DATA, SEEK_END, SEEK_HOLE, SEEK_SET } from '../../src/uapi/fs.js';
import { FIBMAP, FIFREEZE, FITHAW, FS_IOC_FIEMAP, FS_IOC_GETFLAGS, FS_IOC_SETFLAGS } from '../../src/uapi/ioctl.js';
import { MNT_FORCE } from '../../src/uapi/mount.js';
import { POLLHUP, POLLIN, POLLOUT } from '../../src/uapi/poll.js';
import { newWorld, outcome, user, type World } from './world.js';

/** A process of root on a fresh mount; everything is given back at the end, and no rule was broken. */
async function inProcess(
  t: Test,
  body: (sys: Syscalls, process: Process, world: World) => Promise<void>,
): Promise<void> {
  const world = await newWorld();
  const process = new Process(world.sb, { umask: 0 });
  await body(syscalls(process), process, world);
  await process.exit();
  t.equal(await world.end(), 0, 'nothing is in use after the test');
  t.same(
    world.violations.map(({ message }) => message),
    [],
    'no rule was broken',
  );
}

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');

t.test('paths', (t) =>
  inProcess(t, async (sys, process) => {
    await sys.mkdir('/d', 0o755);
    await sys.mkdir('d/e/', 0o755);
    await sys.close(await sys.open('/d/e/f', O_CREAT | O_RDWR, 0o644));
    await sys.symlink('e/f', '/d/link');
    await sys.symlink('/d', '/abs');
    await sys.symlink('loop', '/loop');
    await sys.symlink('nowhere/x', '/dangling');
    const { ino } = await sys.stat('/d/e/f');
    for (const path of ['d/e/f', '//d//e///f', '/d/./e/../e/f', '/d/link', '/abs/link', '/../../d/link']) {
      t.equal((await sys.stat(path)).ino, ino, path);
    }
    t.equal((await sys.lstat('/d/link')).mode & 0o170000, 0o120000);
    t.equal((await sys.lstat('/abs/')).mode & 0o170000, 0o040000, 'a slash follows the symlink');
    t.equal(await sys.readlink('/d/link'), 'e/f');
    const codes: [string, string][] = [
      ['', 'ENOENT'],
      ['/none', 'ENOENT'],
      ['/none/x', 'ENOENT'],
      ['/d/e/f/', 'ENOTDIR'],
      ['/d/e/f/x', 'ENOTDIR'],
      ['/loop', 'ELOOP'],
      ['/dangling', 'ENOENT'],
      [`/${'n'.repeat(256)}`, 'ENAMETOOLONG'],
      [`/${'n/'.repeat(2048)}`, 'ENAMETOOLONG'],
    ];
    for (const [path, code] of codes) t.equal(await outcome(() => sys.stat(path)), code, path.slice(0, 20));
    await sys.chdir('/d/e');
    t.equal(await sys.getcwd(), '/d/e');
    t.equal((await sys.stat('f')).ino, ino);
    t.equal((await sys.stat('../link')).ino, ino);
    t.equal(await outcome(() => sys.chdir('f')), 'ENOTDIR');
    const dirfd = await sys.open('/d', O_DIRECTORY);
    t.equal((await sys.statx(dirfd, 'e/f')).ino, ino);
    t.equal((await sys.statx(dirfd, '', AT_EMPTY_PATH)).ino, (await sys.stat('/d')).ino);
    t.equal(await outcome(() => sys.openat2(dirfd, '../d/link', { flags: 0, resolve: RESOLVE_BENEATH })), 'EXDEV');
    t.equal(await outcome(() => sys.openat2(dirfd, '/link', { flags: 0, resolve: RESOLVE_BENEATH })), 'EXDEV');
    await sys.close(await sys.openat2(dirfd, '/../../link', { flags: 0, resolve: RESOLVE_IN_ROOT }));
    t.equal(await outcome(() => sys.openat2(dirfd, 'link', { flags: 0, resolve: RESOLVE_NO_SYMLINKS })), 'ELOOP');
    await sys.close(await sys.openat2(dirfd, 'e/f', { flags: 0, resolve: RESOLVE_CACHED }));
    await sys.fchdir(dirfd);
    t.equal(await sys.getcwd(), '/d');
    await sys.close(dirfd);
    // Opening.
    t.equal(await outcome(() => sys.open('/d', O_RDWR)), 'EISDIR');
    t.equal(await outcome(() => sys.open('/d/e/f', O_DIRECTORY)), 'ENOTDIR');
    t.equal(await outcome(() => sys.open('/d/link', O_NOFOLLOW)), 'ELOOP');
    t.equal(await outcome(() => sys.open('/new/', O_CREAT | O_RDWR, 0o644)), 'EISDIR');
    t.equal(await outcome(() => sys.open('/d/link', O_CREAT | O_EXCL | O_RDWR, 0o644)), 'EEXIST');
    t.equal(await outcome(() => sys.open('/dangling', O_CREAT | O_RDWR, 0o644)), 'ENOENT');
    await sys.mkdir('/nowhere', 0o755);
    await sys.close(await sys.open('/dangling', O_CREAT | O_RDWR, 0o644));
    t.equal((await sys.stat('/nowhere/x')).size, 0, 'a file is made where a symlink points to');
    const path = await sys.open('/d/link', O_PATH | O_NOFOLLOW);
    t.equal((await sys.fstat(path)).mode & 0o170000, 0o120000);
    t.equal(await outcome(() => sys.read(path, 1)), 'EBADF');
    await sys.close(path);
    // Names.
    t.equal(await outcome(() => sys.mkdir('/', 0o755)), 'EEXIST');
    t.equal(await outcome(() => sys.mkdir('/d/..', 0o755)), 'EEXIST');
    t.equal(await outcome(() => sys.rmdir('/d/.')), 'EINVAL');
    t.equal(await outcome(() => sys.rmdir('/d/..')), 'ENOTEMPTY');
    t.equal(await outcome(() => sys.rmdir('/')), 'EBUSY');
    t.equal(await outcome(() => sys.rmdir('/d')), 'ENOTEMPTY');
    t.equal(await outcome(() => sys.unlink('/d/e/f/')), 'ENOTDIR');
    t.equal(await outcome(() => sys.unlink('/d/.')), 'EISDIR');
    t.equal(await outcome(() => sys.rename('/d/.', '/x')), 'EBUSY');
    t.equal(await outcome(() => sys.rename('/d/e/f', '/x/')), 'ENOTDIR');
    t.equal(await outcome(() => sys.link('/d', '/x')), 'EPERM');
    t.equal(await outcome(() => sys.unlinkat(AT_FDCWD, '/d/e/f', AT_REMOVEDIR)), 'ENOTDIR');
    await sys.chdir('/nowhere');
    await sys.unlink('x');
    await sys.rmdir('/nowhere');
    t.equal(await outcome(() => sys.getcwd()), 'ENOENT');
    t.equal(await outcome(() => sys.mkdir('y', 0o755)), 'ENOENT', 'nothing is made in a directory that is gone');
    const child = process.fork({ cred: user(1000) });
    const theirs = syscalls(child);
    await sys.chmod('/d/e', 0o700);
    t.equal(await outcome(() => theirs.stat('/d/e/f')), 'EACCES');
    t.equal(await outcome(() => theirs.access('/d', 2)), 'EACCES');
    t.equal(await outcome(() => theirs.access('/d', 5)), 'ok');
    await sys.chroot('/d');
    t.equal((await sys.stat('/e/f')).ino, ino);
    t.equal((await sys.stat('/../../e/f')).ino, ino);
    await child.exit();
  }),
);

t.test('reading, writing and descriptors', (t) =>
  inProcess(t, async (sys, process) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    t.equal(await sys.write(fd, bytes('hello world')), 11);
    t.equal(await sys.lseek(fd, 0, SEEK_SET), 0);
    t.same(await sys.read(fd, 5), bytes('hello'));
    const other = await sys.dup(fd);
    t.same(await sys.read(other, 100), bytes(' world'), 'a duplicate shares the position');
    t.same(await sys.read(fd, 1), bytes(''));
    t.same(await sys.pread(fd, 3, 1), bytes('ell'));
    t.equal(await sys.pwrite(fd, bytes('J'), 0), 1);
    await sys.lseek(fd, 2, SEEK_SET);
    t.equal(await sys.pwritev2(fd, bytes('l'), -1, 0), 1, 'at the position of the file');
    t.same(await sys.preadv2(fd, 2, -1, 0), bytes('lo'));
    await sys.lseek(fd, 0, SEEK_END);
    await sys.fcntl_setfl(fd, O_APPEND);
    await sys.lseek(fd, 0, SEEK_SET);
    t.equal(await sys.writev(fd, [bytes('!'), bytes('?')]), 2);
    t.same(await sys.readv(fd, [1, 1]), [bytes(''), bytes('')]);
    t.same(await sys.pread(fd, 100, 0), bytes('Jello world!?'));
    t.equal((await sys.fcntl_getfl(other)) & O_APPEND, O_APPEND);
    t.equal(await sys.fcntl_dupfd(fd, 10), 10);
    await sys.fcntl_setfd(10, 1);
    t.equal(await sys.fcntl_getfd(fd), 0);
    t.equal(await sys.dup3(fd, 20), 20);
    t.equal(await outcome(() => sys.dup3(fd, fd)), 'EINVAL');
    const child = process.fork();
    await child.exec();
    t.same(child.files.all(), [0, 1, 20], 'what is close-on-exec is closed');
    await child.exit();
    for (const open of [10, 20, other]) await sys.close(open);
    t.equal(await outcome(() => sys.close(other)), 'EBADF');
    t.equal(await outcome(() => sys.lseek(fd, -1, SEEK_SET)), 'EINVAL');
    t.equal(await outcome(() => sys.pread(fd, 1, -1)), 'EINVAL');
    t.equal(await outcome(() => sys.pwrite(fd, bytes('x'), -1)), 'EINVAL');
    const reader = await sys.open('/f', 0);
    t.equal(await outcome(() => sys.write(reader, bytes('x'))), 'EBADF');
    t.equal(await outcome(() => sys.ftruncate(reader, 0)), 'EINVAL');
    await sys.close(reader);
    const writer = await sys.open('/f', O_WRONLY);
    t.equal(await outcome(() => sys.read(writer, 1)), 'EBADF');
    await sys.close(writer);
    await sys.truncate('/f', 3);
    t.equal((await sys.fstat(fd)).size, 3);
    t.equal(await outcome(() => sys.truncate('/f', -1)), 'EINVAL');
    t.equal(await outcome(() => sys.truncate('/', 1)), 'EISDIR');
    process.fsize = 10;
    t.equal(await sys.write(fd, bytes('0123456789')), 7, 'up to the limit');
    t.equal(await outcome(() => sys.write(fd, bytes('x'))), 'EFBIG');
    t.ok(process.signals.includes('SIGXFSZ'));
    process.fsize = Number.POSITIVE_INFINITY;
    await sys.close(fd);
    await sys.close(await sys.open('/f', O_WRONLY | O_TRUNC));
    t.equal((await sys.stat('/f')).size, 0);
    process.files.limit = 1;
    const only = await sys.open('/f', 0);
    t.equal(await outcome(() => sys.open('/f', 0)), 'EMFILE');
    await sys.close(only);
    process.files.limit = 64;
    await sys.mkdir('/dir', 0o755);
    for (const name of ['a', 'b', 'c']) await sys.mknod(`/dir/${name}`, 0o100644);
    const dir = await sys.open('/dir', O_DIRECTORY);
    t.equal(await outcome(() => sys.read(dir, 1)), 'EISDIR');
    const names: string[] = [];
    for (let some = await sys.getdents(dir, 2); some.length > 0; some = await sys.getdents(dir, 2)) {
      names.push(...some.map(({ name }) => name));
    }
    t.same(names.sort(), ['.', '..', 'a', 'b', 'c']);
    await sys.lseek(dir, 0, SEEK_SET);
    t.equal((await sys.getdents(dir)).length, 5);
    await sys.close(dir);
  }),
);

t.test('sparse files', (t) =>
  inProcess(t, async (sys) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    const K = 4096;
    await sys.pwrite(fd, Buffer.alloc(K, 1), 0);
    await sys.pwrite(fd, Buffer.alloc(K, 2), 8 * K);
    await sys.fallocate(fd, FALLOC_FL_KEEP_SIZE, 4 * K, K);
    const seek = (offset: number, whence: number): Promise<number> => sys.lseek(fd, offset, whence);
    t.equal(await seek(0, SEEK_HOLE), K);
    t.equal(await seek(K, SEEK_DATA), 8 * K, 'an unwritten extent is a hole');
    await sys.pwrite(fd, Buffer.alloc(10, 3), 4 * K);
    t.equal(await seek(K, SEEK_DATA), 4 * K, 'but not where a page is dirty');
    t.equal(await outcome(() => seek(9 * K, SEEK_DATA)), 'ENXIO');
    t.equal(await seek(0, SEEK_END), 9 * K);
    await sys.fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, K);
    t.equal(await seek(0, SEEK_DATA), 4 * K);
    t.equal(await outcome(() => sys.fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, K)), 'EOPNOTSUPP');
    t.equal(await outcome(() => sys.fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 1, K)), 'EINVAL');
    await sys.fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, K);
    t.same(await sys.pread(fd, 11, 3 * K), Buffer.concat([Buffer.alloc(10, 3), Buffer.alloc(1)]));
    await sys.fallocate(fd, FALLOC_FL_INSERT_RANGE, 0, 2 * K);
    t.equal((await sys.fstat(fd)).size, 10 * K);
    t.same(await sys.pread(fd, 10, 5 * K), Buffer.alloc(10, 3));
    t.same(await sys.pread(fd, 10, 9 * K), Buffer.alloc(10, 2));
    const copy = await sys.open('/g', O_CREAT | O_RDWR, 0o644);
    t.equal(await sys.copy_file_range(fd, 5 * K, copy, undefined, 5 * K), 5 * K);
    t.same(await sys.pread(copy, 10, 4 * K), Buffer.alloc(10, 2));
    const far = (from: number, to: number, length: number): Promise<string> =>
      outcome(() => sys.copy_file_range(fd, from, copy, to, length));
    t.equal(await far(0, 2 ** 63 - 65537, 65537), 'EFBIG', 'beyond where files end');
    t.equal(await far(2 ** 62, 2 ** 62, K), 'EFBIG', 'also where there is nothing to copy');
    t.equal(await far(2 ** 62, 0, K), 'ok');
    t.equal(await far(0, 2 ** 63, 2 ** 63), 'EOVERFLOW', 'around 64 bits');
    t.same([await far(0, -1, 1), await far(-2, 0, 1)], ['EOVERFLOW', 'EINVAL']);
    t.equal(await outcome(() => sys.clone_file_range(fd, 0, 0, copy, 0)), 'EOPNOTSUPP');
    await sys.sync_file_range(copy, 0, 0, 7);
    await sys.fadvise(copy, 0, 0, 4);
    t.equal(await outcome(() => sys.fadvise(copy, 0, 0, 77)), 'EINVAL');
    const sparse = await sys.open('/h', O_CREAT | O_RDWR, 0o644);
    await sys.pwrite(sparse, Buffer.alloc(2 * K, 1), 0);
    await sys.fallocate(sparse, 0, 4 * K, 2 * K);
    await sys.pwrite(sparse, Buffer.alloc(K, 1), 9 * K);
    const ask = Buffer.alloc(32);
    ask.writeBigUInt64LE(0xffffffffffffffffn, 8);
    ask.writeUInt32LE(FIEMAP_FLAG_SYNC, 16);
    t.equal((await sys.ioctl(sparse, FS_IOC_FIEMAP, ask)).readUInt32LE(20), 3, 'without room they are counted');
    ask.writeUInt32LE(10, 24);
    const map = await sys.ioctl(sparse, FS_IOC_FIEMAP, ask);
    const extents = Array.from({ length: map.readUInt32LE(20) }, (_, n) => {
      const at = 32 + n * 56;
      return [map.readBigUInt64LE(at), map.readBigUInt64LE(at + 16), map.readUInt32LE(at + 40)];
    });
    t.same(extents, [
      [0n, BigInt(2 * K), 0],
      [BigInt(4 * K), BigInt(2 * K), FIEMAP_EXTENT_UNWRITTEN],
      [BigInt(9 * K), BigInt(K), FIEMAP_EXTENT_LAST],
    ]);
    ask.writeBigUInt64LE(BigInt(4 * K), 0);
    ask.writeBigUInt64LE(BigInt(K), 8);
    t.equal((await sys.ioctl(sparse, FS_IOC_FIEMAP, ask)).readUInt32LE(20), 1, 'only what touches the range');
    ask.writeUInt32LE(0x80, 16);
    t.equal(await outcome(() => sys.ioctl(sparse, FS_IOC_FIEMAP, ask)), 'EBADR');
    await sys.close(sparse);
    const block = Buffer.alloc(4);
    t.ok((await sys.ioctl(copy, FIBMAP, block)).readInt32LE(0) > 0);
    for (const open of [fd, copy]) await sys.close(open);
  }),
);

t.test('attributes', (t) =>
  inProcess(t, async (sys, process) => {
    await sys.close(await sys.open('/f', O_CREAT, 0o6755));
    t.equal((await sys.stat('/f')).mode & 0o7777, 0o6755);
    await sys.chown('/f', 1000, 1000);
    t.equal((await sys.stat('/f')).mode & 0o7777, 0o755, 'a change of owner takes setuid and setgid away');
    await sys.chmod('/f', 0o6777);
    const them = process.fork({ cred: user(2000) });
    const theirs = syscalls(them);
    const fd = await theirs.open('/f', O_WRONLY);
    await theirs.write(fd, bytes('x'));
    t.equal((await sys.stat('/f')).mode & 0o7777, 0o777, 'so does a write of somebody else');
    await theirs.close(fd);
    t.equal(await outcome(() => theirs.chmod('/f', 0o600)), 'EPERM');
    t.equal(await outcome(() => theirs.chown('/f', 2000, -1)), 'EPERM');
    t.equal(await outcome(() => theirs.utimensat(AT_FDCWD, '/f', undefined)), 'ok', 'who may write may touch');
    const at = { sec: 5, nsec: 7 };
    t.equal(await outcome(() => theirs.utimensat(AT_FDCWD, '/f', [at, at])), 'EPERM');
    await sys.utimensat(AT_FDCWD, '/f', [at, 'omit']);
    t.same((await sys.stat('/f')).atime, at);
    t.equal(await outcome(() => sys.utimensat(AT_FDCWD, '/f', [{ sec: 1, nsec: 1e9 }, at])), 'EINVAL');
    await sys.symlink('f', '/l');
    t.equal(await outcome(() => sys.fchmodat(AT_FDCWD, '/l', 0o600, AT_SYMLINK_NOFOLLOW)), 'EOPNOTSUPP');
    await sys.lchown('/l', 7, 8);
    t.same([(await sys.lstat('/l')).uid, (await sys.stat('/f')).uid], [7, 1000]);
    await sys.setxattr('/f', 'user.a', bytes('1'));
    t.same(await sys.getxattr('/f', 'user.a', 10), bytes('1'));
    t.equal(await outcome(() => sys.setxattr('/f', 'user.a', bytes('2'), 1)), 'EEXIST');
    t.equal(await outcome(() => sys.setxattr('/f', 'user.b', bytes('2'), 2)), 'ENODATA');
    t.equal(await outcome(() => sys.lsetxattr('/l', 'user.a', bytes('2'))), 'EPERM');
    t.equal(await outcome(() => theirs.setxattr('/f', 'trusted.a', bytes('2'))), 'EPERM');
    t.same(await sys.listxattr('/f'), ['user.a']);
    await sys.removexattr('/f', 'user.a');
    t.equal(await outcome(() => sys.getxattr('/f', 'user.a')), 'ENODATA');
    const flags = Buffer.alloc(4);
    flags.writeUInt32LE(0x10);
    const own = await sys.open('/f', 0);
    await sys.ioctl(own, FS_IOC_SETFLAGS, flags);
    t.equal((await sys.ioctl(own, FS_IOC_GETFLAGS, flags)).readUInt32LE(0) & 0x10, 0x10);
    t.equal(await outcome(() => sys.open('/f', O_RDWR)), 'EPERM', 'immutable, also for root');
    t.equal(await outcome(() => sys.unlink('/f')), 'EPERM');
    flags.writeUInt32LE(0);
    await sys.ioctl(own, FS_IOC_SETFLAGS, flags);
    await sys.close(own);
    await them.exit();
    const nameless = await sys.open('/', O_TMPFILE | O_RDWR, 0o600);
    t.equal((await sys.fstat(nameless)).nlink, 0);
    await sys.linkat(nameless, '', AT_FDCWD, '/named', AT_EMPTY_PATH);
    t.equal((await sys.stat('/named')).nlink, 1);
    await sys.close(nameless);
    t.equal(await outcome(() => sys.open('/', O_TMPFILE, 0o600)), 'EINVAL');
  }),
);

t.test('locks of processes', (t) =>
  inProcess(t, async (sys, process) => {
    await sys.close(await sys.open('/f', O_CREAT, 0o666));
    const child = process.fork();
    const theirs = syscalls(child);
    const [a, b] = [await sys.open('/f', O_RDWR), await theirs.open('/f', O_RDWR)];
    await sys.fcntl_lock(a, { l_type: 'F_WRLCK', l_start: 0, l_len: 10 });
    t.equal(await outcome(() => theirs.fcntl_lock(b, { l_type: 'F_RDLCK', l_start: 5, l_len: 1 })), 'EAGAIN');
    const found = await theirs.fcntl_testlock(b, { l_type: 'F_RDLCK' });
    t.same([found.l_type, found.l_start, found.l_len, found.l_pid], ['F_WRLCK', 0, 10, process.pid]);
    await theirs.fcntl_lock(b, { l_type: 'F_WRLCK', l_start: 20, l_len: 1 });
    const waits = theirs.fcntl_lock(b, { l_type: 'F_WRLCK', l_start: 0, l_len: 1 }, true);
    t.equal(await outcome(() => sys.fcntl_lock(a, { l_type: 'F_WRLCK', l_start: 20, l_len: 1 }, true)), 'EDEADLK');
    child.signal('SIGUSR1');
    t.equal(await outcome(() => waits), 'EINTR');
    const again = theirs.fcntl_lock(b, { l_type: 'F_WRLCK', l_start: 0, l_len: 1 }, true);
    const second = await sys.open('/f', 0);
    await sys.close(second);
    t.equal(await outcome(() => again), 'ok', 'any close of the file drops the locks of the process');
    await sys.fcntl_ofd_lock(a, { l_type: 'F_RDLCK', l_start: 100, l_len: 5 });
    t.equal((await theirs.fcntl_ofd_testlock(b, { l_type: 'F_WRLCK', l_start: 100 })).l_pid, -1);
    const own = await sys.fcntl_ofd_testlock(a, { l_type: 'F_UNLCK' });
    t.same([own.l_type, own.l_start, own.l_len], ['F_RDLCK', 100, 5], 'an open file may ask for its own');
    t.equal((await theirs.fcntl_ofd_testlock(b, { l_type: 'F_UNLCK' })).l_type, 'F_UNLCK', 'of which it has none');
    t.equal(await outcome(() => sys.fcntl_testlock(a, { l_type: 'F_UNLCK' })), 'EINVAL');
    await sys.flock(a, LOCK_SH);
    await theirs.flock(b, LOCK_SH | LOCK_NB);
    t.equal(await outcome(() => theirs.flock(b, LOCK_EX | LOCK_NB)), 'EAGAIN');
    const exclusive = theirs.flock(b, LOCK_EX);
    await sys.flock(a, LOCK_UN);
    t.equal(await outcome(() => exclusive), 'ok');
    await child.exit();
    t.equal(await sys.flock(a, LOCK_EX | LOCK_NB), undefined, 'the locks of a process that ended are gone');
    await sys.close(a);
    // Leases.
    const holder = await sys.open('/f', O_RDWR);
    await sys.fcntl_lease(holder, 'F_WRLCK');
    t.equal(await sys.fcntl_testlease(holder), 'F_WRLCK');
    const opener = process.fork();
    const opens = syscalls(opener);
    t.equal(await outcome(() => opens.open('/f', O_RDWR | O_NONBLOCK)), 'EAGAIN');
    t.ok(process.signals.includes('SIGIO'), 'its holder is told');
    const opened = opens.open('/f', O_RDWR);
    await sys.fcntl_lease(holder, 'F_UNLCK');
    t.ok((await opened) >= 0);
    t.equal(await outcome(() => sys.fcntl_lease(holder, 'F_WRLCK')), 'EAGAIN', 'others have it open');
    await opener.exit();
    await sys.close(holder);
  }),
);

t.test('pipes', (t) =>
  inProcess(t, async (sys, process) => {
    const [r, w] = await sys.pipe2();
    const reading = sys.read(r, 10);
    await sys.write(w, bytes('abc'));
    t.same(await reading, bytes('abc'));
    t.match(await sys.fd_path(r), /^pipe:\[\d+\]$/);
    t.equal(await outcome(() => sys.lseek(r, 0, SEEK_SET)), 'ESPIPE');
    t.same(
      await sys.poll(
        [
          { fd: r, events: POLLIN },
          { fd: w, events: POLLOUT },
        ],
        0,
      ),
      [0, POLLOUT],
    );
    const polling = sys.poll([{ fd: r, events: POLLIN }], -1);
    await sys.write(w, bytes('d'));
    t.same(await polling, [POLLIN]);
    await sys.fcntl_setown(r, process);
    await sys.fcntl_setfl(r, O_NONBLOCK | FASYNC);
    t.same(await sys.read(r, 10), bytes('d'));
    t.equal(await outcome(() => sys.read(r, 10)), 'EAGAIN');
    const before = process.signals.length;
    await sys.write(w, bytes('e'));
    t.ok(process.signals.length > before, 'SIGIO');
    await sys.fcntl_setfl(r, 0);
    const file = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(file, bytes('0123456789'));
    t.equal(await sys.splice(file, 2, w, undefined, 5), 5);
    t.equal(await sys.splice(r, undefined, file, 20, 100), 6);
    t.same(await sys.pread(file, 100, 20), bytes('e23456'));
    t.equal(await sys.sendfile(w, file, 0, 4), 4);
    t.same(await sys.read(r, 100), bytes('0123'));
    const waits = sys.read(r, 1);
    process.signal('SIGALRM');
    t.equal(await outcome(() => waits), 'EINTR');
    const full = sys.write(w, Buffer.alloc(100_000, 7));
    t.equal((await sys.read(r, 65_536)).length, 65_536);
    t.equal(await full, 100_000);
    t.equal((await sys.read(r, 65_536)).length, 100_000 - 65_536);
    // Which of two that are moved between must not wait: any pipe.
    const [r3, w3] = await sys.pipe2(O_NONBLOCK);
    t.equal(await outcome(() => sys.splice(r3, undefined, file, 0, 10)), 'EAGAIN');
    t.equal(await outcome(() => sys.splice(r3, undefined, w, undefined, 10)), 'EAGAIN');
    t.equal(await outcome(() => sys.splice(r, undefined, w3, undefined, 10)), 'EAGAIN');
    await sys.write(w3, Buffer.alloc(65_536));
    t.equal(await outcome(() => sys.splice(file, 0, w3, undefined, 10)), 'EAGAIN');
    t.equal(await outcome(() => sys.sendfile(w3, file, 0, 10)), 'EAGAIN');
    await sys.fcntl_setfl(file, O_NONBLOCK);
    const moving = sys.splice(r, undefined, file, 0, 10);
    await sys.write(w, bytes('late'));
    t.equal(await moving, 4, 'a file does not count');
    for (const fd of [r3, w3]) await sys.close(fd);
    await sys.close(w);
    t.same(await sys.read(r, 1), bytes(''));
    t.same(await sys.poll([{ fd: r, events: POLLIN }], 0), [POLLHUP]);
    // FIFOs.
    await sys.mknod('/fifo', 0o010644);
    t.equal(await outcome(() => sys.open('/fifo', O_WRONLY | O_NONBLOCK)), 'ENXIO');
    const opening = sys.open('/fifo', 0);
    const writer = await sys.open('/fifo', O_WRONLY);
    const reader = await opening;
    await sys.write(writer, bytes('through'));
    t.same(await sys.read(reader, 10), bytes('through'));
    await sys.close(writer);
    t.same(await sys.read(reader, 10), bytes(''));
    await sys.close(reader);
    const alone = sys.open('/fifo', 0);
    process.signal('SIGUSR1');
    t.equal(await outcome(() => alone), 'EINTR');
    await sys.close(await sys.open('/fifo', O_RDWR));
    await sys.mknod('/null', 0o020666, 0x103);
    t.equal(await outcome(() => sys.open('/null', 0)), 'ENXIO', 'there are no drivers');
    const [r2, w2] = await sys.pipe2();
    await sys.close(r2);
    t.equal(await outcome(() => sys.write(w2, bytes('x'))), 'EPIPE');
    t.ok(process.signals.includes('SIGPIPE'));
  }),
);

t.test('the whole filesystem: statfs, sync, freeze, remount', (t) =>
  inProcess(t, async (sys, process, { sb }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    const st = await sys.statfs('/');
    t.ok(st.f_bfree <= st.f_blocks && st.f_bfree > 0);
    t.equal((await sys.ustat(sb)).f_tfree, st.f_bfree);
    await sys.write(fd, Buffer.alloc(10_000, 1));
    t.ok(sb.s_wb.dirty);
    await sys.fsync(fd);
    await sys.fdatasync(fd);
    await sys.syncfs(fd);
    await sys.sync();
    t.notOk(sb.s_wb.dirty, 'after sync nothing is dirty');
    sb.s_op = { ...sb.s_op, freeze_fs: sb.s_op.freeze_fs ?? (() => undefined) };
    await sys.ioctl(fd, FIFREEZE);
    t.equal(await outcome(() => sys.ioctl(fd, FIFREEZE)), 'EBUSY');
    let done = false;
    const writing = sys.write(fd, bytes('x')).then(() => {
      done = true;
    });
    const making = sys.mkdir('/d', 0o755);
    t.same(await sys.pread(fd, 1, 0), Buffer.alloc(1, 1), 'reading goes on');
    t.notOk(done, 'writing waits');
    await sys.ioctl(fd, FITHAW);
    await writing;
    await making;
    t.equal(await outcome(() => sys.ioctl(fd, FITHAW)), 'EINVAL');
    t.equal(await outcome(() => sys.remount('/', SB_RDONLY)), 'EBUSY', 'a file is open for writing');
    await sys.close(fd);
    await sys.remount('/', SB_RDONLY | SB_NOATIME);
    t.equal(await outcome(() => sys.mkdir('/e', 0o755)), 'EROFS');
    t.equal(await outcome(() => sys.mkdir('/d', 0o755)), 'EEXIST', 'what is there is told first');
    t.equal(await outcome(() => sys.open('/f', O_RDWR)), 'EROFS');
    t.equal(await outcome(() => sys.open('/f', O_CREAT)), 'ok', 'a file that is there can be opened to read');
    t.equal(await outcome(() => sys.unlink('/none')), 'EROFS');
    await sys.remount('/', 0);
    await sys.mkdir('/e', 0o755);
    t.equal(await outcome(() => sys.umount2('/e', 0)), 'EINVAL');
    t.equal(await outcome(() => sys.umount2('/', MNT_FORCE)), 'EBUSY');
    t.match(await sys.show_mounts(), / \/ latch /);
    const them = process.fork({ cred: user(1000) });
    t.equal(await outcome(() => syscalls(them).remount('/', SB_RDONLY)), 'EPERM');
    await them.exit();
  }),
);
