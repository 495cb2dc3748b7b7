/** Overlays to be read only: what of which layer is seen, and the dentries of open files. */
import t from 'tap';

import { file_dentry } from '../../src/fs/file-table.js';
import { FS_IOC_GETFLAGS, FS_IOC_GETVERSION, FS_IOC_SETFLAGS } from '../../src/fs/ioctl.js';
import { O_CREAT, O_DIRECTORY, O_RDWR } from '../../src/fs/open-flags.js';
import { AT_FDCWD } from '../../src/fs/sys-path.js';
import { Process, type Syscalls, syscalls } from '../../src/fs/syscalls.js';
import { newWorld, opsCalled, outcome, user } from './world.js';

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
