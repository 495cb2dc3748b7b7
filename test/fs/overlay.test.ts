/** Overlays to be read only: what of which layer is seen, and the dentries of open files. */

import t, { type Test } from 'tap';
import { d_drop, dput } from '../../src/fs/dcache.js';
import { file_dentry } from '../../src/fs/file-table.js';
import { lookup_one } from '../../src/fs/namei/lookup.js';
import type { PosixAcl } from '../../src/fs/posix-acl-types.js';
import { posix_acl_to_xattr } from '../../src/fs/posix-acl-xattr.js';
import { SB_RDONLY } from '../../src/fs/super-block.js';
import { Process, type Syscalls, syscalls } from '../../src/fs/syscalls.js';
import { errno } from '../../src/sched/errno.js';
import { AT_FDCWD, O_CREAT, O_DIRECTORY, O_RDWR } from '../../src/uapi/fcntl.js';
import { FS_IOC_GETFLAGS, FS_IOC_GETVERSION, FS_IOC_SETFLAGS } from '../../src/uapi/ioctl.js';
import { MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE } from '../../src/uapi/mman.js';
import { UMOUNT_NOFOLLOW } from '../../src/uapi/mount.js';
import { newWorld, opsCalled, outcome, user, type World } from './world.js';

async function put(sys: Syscalls, path: string, text: string): Promise<void> {
  const fd = await sys.open(path, O_CREAT | O_RDWR, 0o644);
  await sys.write(fd, Buffer.from(text));
  await sys.close(fd);
}

async function get(sys: Syscalls, path: string): Promise<string> {
  const fd = await sys.open(path, 0);
  const text = String(await sys.read(fd, 100));
  await sys.close(fd);
  return text;
}

/** With an overlay of /top and /low on /m, in which `fill` has put something before. */
async function withOverlay(
  t: Test,
  fill: (sys: Syscalls) => Promise<void>,
  body: (sys: Syscalls, process: Process, world: World) => Promise<void>,
): Promise<void> {
  const world = await newWorld();
  const process = new Process(world.sb);
  const sys = syscalls(process);
  for (const dir of ['/top', '/low', '/m']) await sys.mkdir(dir, 0o755);
  await fill(sys);
  await sys.mount_overlay('/m', ['/top', '/low']);
  await body(sys, process, world);
  await sys.umount2('/m', 0);
  await process.exit();
  t.equal(await world.end(), 0, 'no reference was kept');
  t.same(
    world.violations.map(({ message }) => message),
    [],
  );
}

async function list(sys: Syscalls, path: string): Promise<string[]> {
  const fd = await sys.open(path, O_DIRECTORY);
  const found = await sys.getdents(fd);
  await sys.close(fd);
  return found.map(({ name }) => name).sort();
}

t.test('layers', async (t) => {
  const world = await newWorld();
  const process = new Process(world.sb);
  const sys = syscalls(process);
  for (const dir of ['/top', '/low', '/m', '/top/d', '/low/d', '/low/hidden', '/top/new', '/low/new']) {
    await sys.mkdir(dir, 0o755);
  }
  await put(sys, '/top/both', 'top');
  await put(sys, '/low/both', 'low');
  await put(sys, '/low/only', 'only');
  await put(sys, '/top/d/a', 'a');
  await put(sys, '/low/d/b', 'b');
  await put(sys, '/low/gone', 'gone');
  await put(sys, '/low/hidden/x', 'x');
  await put(sys, '/low/new/old', 'old');
  await sys.mknod('/top/gone', 0o020000, 0);
  await put(sys, '/top/hidden', 'a file now');
  await sys.setxattr('/top/new', 'trusted.overlay.opaque', Buffer.from('y'));
  await sys.setxattr('/low/only', 'user.u', Buffer.from('1'));
  await sys.symlink('d/b', '/low/link');
  t.equal(await outcome(() => sys.mount_overlay('/m', [])), 'EINVAL');
  t.equal(await outcome(() => sys.mount_overlay('/m', ['/top', '/top/both'])), 'ENOTDIR');
  const them = process.fork({ cred: user(1000) });
  t.equal(await outcome(() => syscalls(them).mount_overlay('/m', ['/top'])), 'EPERM');
  await them.exit();
  await sys.mount_overlay('/m', ['/top', '/low']);
  t.match(await sys.show_mounts(), / \/m overlay ro\n/);

  t.same(await list(sys, '/m'), ['.', '..', 'both', 'd', 'hidden', 'link', 'new', 'only']);
  t.same(await list(sys, '/m/d'), ['.', '..', 'a', 'b'], 'merged');
  t.same(await list(sys, '/m/new'), ['.', '..'], 'opaque');
  t.equal(await get(sys, '/m/both'), 'top');
  t.equal(await get(sys, '/m/only'), 'only');
  t.equal(await get(sys, '/m/link'), 'b', 'a link of one layer into another');
  t.equal(await get(sys, '/m/hidden'), 'a file now');
  t.equal(await outcome(() => sys.stat('/m/gone')), 'ENOENT', 'a whiteout');
  t.equal(await outcome(() => sys.stat('/m/new/old')), 'ENOENT');
  t.equal((await sys.stat('/m/only')).size, 4);
  t.equal(String(await sys.getxattr('/m/only', 'user.u')), '1');
  t.same(await sys.listxattr('/m/new'), []);
  t.equal(await outcome(() => sys.open('/m/only', O_RDWR)), 'EROFS');
  t.equal(await outcome(() => sys.mkdir('/m/x', 0o755)), 'EROFS');
  t.equal(await outcome(() => sys.rename('/m/both', '/m/d/both')), 'EROFS');

  // An open file is one of the layer, by the name of the overlay.
  const low = await sys.open('/low/only', 0);
  await sys.ioctl(low, FS_IOC_SETFLAGS, Buffer.from([0x40, 0, 0, 0]));
  const fd = await sys.open('/m/only', 0);
  t.equal(await sys.fd_path(fd), '/m/only');
  const called = await opsCalled(world, async () => {
    t.equal((await sys.ioctl(fd, FS_IOC_GETFLAGS)).readUInt32LE(), 0x40, 'flags of the layer');
  });
  t.ok(called.includes('d_real'));
  t.same(await sys.ioctl(fd, FS_IOC_GETVERSION), await sys.ioctl(low, FS_IOC_GETVERSION));
  const opened = process.files.get(fd);
  const real = opened.private_data;
  t.equal(
    await world.run((task) => file_dentry(task, real as typeof opened)),
    world.root.d_children?.get('low')?.d_children?.get('only'),
  );
  t.equal(await sys.lseek(fd, 2, 0), 2);
  t.equal(String(await sys.read(fd, 10)), 'ly');
  await sys.close(fd);
  await sys.close(low);
  const path = await sys.openat(AT_FDCWD, '/m/d', O_DIRECTORY);
  t.equal(await sys.fd_path(path), '/m/d');
  await sys.close(path);

  await sys.umount2('/m', 0);
  t.same(await list(sys, '/m'), ['.', '..']);
  await sys.unlink('/low/only');
  await process.exit();
  t.equal(await world.end(), 0);
  t.same(
    world.violations.map(({ message }) => message),
    [],
  );
});

t.test('the caller is held to the rights of what he sees, not of what lies below', async (t) => {
  const entry = (tag: number, perm: number, id?: number): PosixAcl[number] => ({ tag, perm, id });
  const acl = posix_acl_to_xattr([entry(1, 6), entry(2, 4, 1000), entry(4, 0), entry(16, 4), entry(32, 0)]);
  const fill = async (sys: Syscalls): Promise<void> => {
    for (const dir of ['/top/d', '/low/d']) await sys.mkdir(dir, 0o755);
    await put(sys, '/low/d/b', 'b');
    await sys.chmod('/low/d', 0o700);
    await put(sys, '/low/listed', 'l');
    await sys.chmod('/low/listed', 0o640);
    await sys.setxattr('/low/listed', 'system.posix_acl_access', acl);
    await sys.chown('/low/listed', 0, 50);
  };
  await withOverlay(t, fill, async (sys, process) => {
    const them = process.fork({ cred: user(1000) });
    const theirs = syscalls(them);
    t.same(await list(theirs, '/m/d'), ['.', '..', 'b'], 'a directory that is closed below an open one');
    t.equal(await get(theirs, '/m/d/b'), 'b');
    t.equal(await get(theirs, '/m/listed'), 'l', 'the list of a layer allows it');
    t.same(await sys.getxattr('/m/listed', 'system.posix_acl_access'), acl);
    t.ok((await sys.listxattr('/m/listed')).includes('system.posix_acl_access'));
    const member = process.fork({ cred: user(2000, 50) });
    t.equal(await outcome(() => syscalls(member).open('/m/listed', 0)), 'EACCES', 'though its mask would');
    for (const one of [them, member]) await one.exit();
  });
});

t.test('files of an overlay are mapped and synced, and leave no trace in the layer', async (t) => {
  await withOverlay(
    t,
    (sys) => put(sys, '/low/f', 'mapped'),
    async (sys, _process, world) => {
      const inode = world.sb.inodeHash.get((await sys.stat('/low/f')).ino);
      if (inode === undefined) throw new Error('not in memory');
      inode.i_atime = { sec: 0, nsec: 0 };
      const fd = await sys.open('/m/f', 0);
      const at = await sys.mmap(0, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
      t.equal(await outcome(() => sys.mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)), 'EACCES');
      await sys.fadvise(fd, 0, 0, 3);
      t.equal(await outcome(() => sys.fadvise(fd, 0, 0, 99)), 'EINVAL');
      await sys.fsync(fd);
      t.equal(String(await sys.read(fd, 10)), 'mapped');
      await sys.close(fd);
      t.equal(String(await sys.load(at, 6)), 'mapped', 'also once it is closed');
      await sys.munmap(at, 4096);
      t.same(inode.i_atime, { sec: 0, nsec: 0 }, 'its atime stays');
      const dir = await sys.open('/m', O_DIRECTORY);
      await sys.fsync(dir);
      await sys.close(dir);
      t.equal(await outcome(() => sys.remount('/m', 0, '')), 'EROFS');
      await sys.remount('/m', SB_RDONLY, '');
      await sys.symlink('m', '/to-m');
      t.equal(await outcome(() => sys.umount2('/to-m', UMOUNT_NOFOLLOW)), 'EINVAL', 'a link to a mount is none');
    },
  );
});

t.test('a lookup that fails in a layer keeps nothing of those above', async (t) => {
  const fill = async (sys: Syscalls): Promise<void> => {
    for (const dir of ['/top/d', '/low/d']) await sys.mkdir(dir, 0o755);
  };
  await withOverlay(t, fill, async (sys, _process, world) => {
    const low = world.sb.inodeHash.get((await sys.stat('/low')).ino);
    if (low === undefined) throw new Error('not in memory');
    const { i_op: op } = low;
    await world.run(async (task) => {
      const known = await lookup_one(task, world.root, 'low');
      const below = await lookup_one(task, known, 'd');
      d_drop(task, below);
      for (const dentry of [below, known]) await dput(task, dentry);
    });
    low.i_op = {
      ...op,
      lookup: () => {
        throw errno('EIO');
      },
    };
    t.equal(await outcome(() => sys.stat('/m/d')), 'EIO');
    low.i_op = op;
    t.same(await list(sys, '/m/d'), ['.', '..']);
  });
});

t.test('inodes are shown with the numbers of the layers, and directories with the links that they have', async (t) => {
  const fill = async (sys: Syscalls): Promise<void> => {
    for (const dir of ['/top/d', '/low/d', '/low/d/s', '/low/e', '/low/e/s']) await sys.mkdir(dir, 0o755);
    await put(sys, '/top/d/x', '1');
    await put(sys, '/low/d/y', '2');
    await sys.link('/low/d/y', '/low/z');
  };
  await withOverlay(t, fill, async (sys) => {
    const pairs: readonly (readonly [string, string])[] = [
      ['/m', '/top'],
      ['/m/d', '/top/d'],
      ['/m/e', '/low/e'],
      ['/m/d/x', '/top/d/x'],
      ['/m/d/y', '/low/d/y'],
      ['/m/z', '/low/d/y'],
    ];
    for (const [shown, real] of pairs) t.equal((await sys.stat(shown)).ino, (await sys.stat(real)).ino, shown);
    t.same([(await sys.stat('/m/d')).nlink, (await sys.stat('/m/e')).nlink, (await sys.stat('/m/z')).nlink], [1, 3, 2]);
    const fd = await sys.open('/m/d', O_DIRECTORY);
    for (const { name, ino } of await sys.getdents(fd)) {
      const path = name === '.' ? '/m/d' : name === '..' ? '/m' : `/m/d/${name}`;
      t.equal(ino, (await sys.stat(path)).ino, name);
    }
    await sys.close(fd);
  });
});
