/** What a walk under RCU does by itself, without references: symlinks in memory, and lists of filesystems that keep none. */

import t from 'tap';
import { ACL_DONT_CACHE } from '../../../src/fs/posix-acl-types.js';
import { Process, syscalls } from '../../../src/fs/syscalls.js';
import { AT_FDCWD, RESOLVE_CACHED } from '../../../src/uapi/fcntl.js';
import { newWorld, outcome } from '../world.js';

const O_CREAT_RDWR = 0o102;

t.test('a symlink in memory is followed without a wait, once its atime has moved', async (t) => {
  const world = await newWorld();
  const process = new Process(world.sb);
  const sys = syscalls(process);
  const cached = (path: string): Promise<string> =>
    outcome(async () => {
      await sys.close(await sys.openat2(AT_FDCWD, path, { flags: 0, resolve: RESOLVE_CACHED }));
    });
  await sys.mkdir('/d', 0o755);
  await sys.close(await sys.open('/d/f', O_CREAT_RDWR, 0o644));
  await sys.symlink('d', '/l');
  await sys.symlink('../l/f', '/d/up');
  await sys.symlink('loop', '/loop');
  const link = world.sb.inodeHash.get((await sys.lstat('/l')).ino);
  if (link !== undefined) link.i_atime = { sec: 0, nsec: 0 };
  t.equal(await cached('/l/f'), 'EAGAIN', 'relatime has an atime to move');
  t.equal((await sys.stat('/l/f')).ino, (await sys.stat('/d/up')).ino);
  t.equal(await cached('/l/f'), 'ok');
  t.equal(await cached('/l/up'), 'ok', 'a symlink behind a symlink');
  t.equal(await cached('/l/up/'), 'ENOTDIR');
  t.equal(await cached('/l/'), 'ok');
  await outcome(() => sys.stat('/loop'));
  t.equal(await cached('/loop'), 'ELOOP');
  t.equal((await sys.lstat('/l')).mode & 0o170000, 0o120000, 'a symlink that is not followed is what is found');
  await process.exit();
  t.equal(await world.end(), 0, 'no reference was kept');
  t.same(world.violations, []);
});

t.test('a filesystem that keeps no lists is asked in the walk, and may say that it would have to wait', async (t) => {
  const world = await newWorld();
  const process = new Process(world.sb);
  const sys = syscalls(process);
  await sys.mkdir('/d', 0o750);
  await sys.close(await sys.open('/d/f', O_CREAT_RDWR, 0o644));
  await sys.chown('/d', 5, 5);
  await sys.stat('/d/f');
  const dir = world.sb.inodeHash.get((await sys.stat('/d')).ino);
  if (dir === undefined) throw new Error('not in memory');
  const asked: boolean[] = [];
  dir.i_acl = ACL_DONT_CACHE;
  dir.i_op = {
    ...dir.i_op,
    get_inode_acl: (_task, _inode, _type, rcu) => {
      asked.push(rcu);
      return undefined;
    },
  };
  await sys.stat('/d/f');
  t.same(asked, [true]);
  t.equal(dir.i_acl, ACL_DONT_CACHE, 'and what it says is not kept');
  dir.i_acl = undefined;
  await sys.stat('/d/f');
  t.same(asked, [true, false], 'where nobody has looked yet, a walk by reference asks');
  await sys.stat('/d/f');
  t.same(asked, [true, false], 'and the answer is kept');
  await process.exit();
  t.equal(await world.end(), 0);
  t.same(world.violations, []);
});
