/** The caches of dentries and inodes: what stays, what goes, and what memory asks for. */

import t from 'tap';
import { dput, prune_dcache_sb } from '../../src/fs/dcache.js';
import { is_subdir } from '../../src/fs/dcache-alias.js';
import { dentry_of_ino } from '../../src/fs/export.js';
import { fput } from '../../src/fs/file-table.js';
import { iget_locked, ihold, ilookup, iput, prune_icache_sb } from '../../src/fs/icache.js';
import { do_create, do_mkdir, do_rmdir, do_unlink, lookup_one } from '../../src/fs/namei.js';
import { vfs_open } from '../../src/fs/open.js';
import { vfs_getattr } from '../../src/fs/stat.js';
import { freeze_super, thaw_super } from '../../src/fs/super-freeze.js';
import { sync_filesystem } from '../../src/fs/sync.js';
import { Process, syscalls } from '../../src/fs/syscalls.js';
import { shrink_slab } from '../../src/mm/vmscan.js';
import { errno } from '../../src/sched/errno.js';
import { O_CREAT, O_RDWR } from '../../src/uapi/fcntl.js';
import { inodeOf, newWorld, outcome, StillClock } from './world.js';

t.test('unused dentries and inodes stay until memory is short', async (t) => {
  const world = await newWorld();
  const { root, run, sb } = world;
  await run(async (task) => {
    const dir = await do_mkdir(task, root, 'd', 0o755);
    for (let i = 0; i < 50; i++) await dput(task, await do_create(task, dir, `f${i}`, 0o644, true));
    await dput(task, dir);
  });
  const dentries = sb.s_dentry_lru.count;
  t.ok(dentries >= 50, `${dentries} unused dentries are kept`);
  t.equal(root.d_children?.get('d')?.d_children?.size, 50);
  await run(async (task) => {
    await sync_filesystem(task, sb);
    const d = await lookup_one(task, root, 'd');
    const used = await lookup_one(task, d, 'f7');
    // Twice, because what was used since the last time gets another chance.
    for (let i = 0; i < 2; i++) await shrink_slab(task, world.machine.memory, 0);
    t.equal(sb.s_dentry_lru.count, 0);
    t.same([...(d.d_children?.keys() ?? [])], ['f7'], 'what is used stays');
    t.ok(sb.inodeHash.size < 10, `${sb.inodeHash.size} inodes are left`);
    const again = await lookup_one(task, d, 'f8');
    t.equal(inodeOf(again).i_mode, 0o100644, 'the rest is read again');
    for (const dentry of [again, used, d]) await dput(task, dentry);
  });
  t.equal(await world.end(), 0);
  t.same(world.violations, []);
});

t.test('many new files do not stay in memory until they are old', async (t) => {
  const world = await newWorld();
  const { root, run, sb } = world;
  sb.s_max_unused_dentries = sb.s_max_unused_inodes = sb.s_wb.max_dirty = 50;
  let most = 0;
  await run(async (task) => {
    for (let i = 0; i < 1000; i++) {
      await dput(task, await do_create(task, root, `f${i}`, 0o644, true));
      most = Math.max(most, sb.inodeHash.size);
      // Requests let others run now and then, the flusher too.
      await task.sched.yield();
    }
  });
  t.ok(most < 300, `at most ${most} inodes were in memory`);
  await run(async (task) => {
    for (let i = 0; i < 1000; i++) {
      const dentry = await lookup_one(task, root, `f${i}`);
      if (dentry.isNegative) t.fail(`f${i} is lost`);
      await dput(task, dentry);
    }
  });
  t.equal(await world.end(), 0);
  t.same(world.violations, []);
});

t.test('who dirties inodes faster than they are written waits, but not for ever', async (t) => {
  const clock = new StillClock();
  const world = await newWorld({ sched: clock });
  const { run, sb } = world;
  const process = new Process(sb);
  const sys = syscalls(process);
  sb.s_wb.max_dirty = 50;
  let most = 0;
  const make = async (name: string): Promise<void> => {
    const fd = await sys.open(name, O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.from('data'));
    await sys.close(fd);
    most = Math.max(most, sb.s_wb.count);
  };
  for (let i = 0; i < 500; i++) await make(`/f${i}`);
  t.ok(most >= 50 && most <= 103, `at most ${most} inodes were dirty`);

  // The flusher cannot begin, and who changes something waits for it, no more than two seconds each time.
  const umount = await sb.s_umount.write(world.task());
  for (let i = 0; !sb.s_wb.crowded; i++) await make(`/g${i}`);
  let made = false;
  const waiting = make('/late').then(() => {
    made = true;
  });
  await clock.advance(1900);
  t.notOk(made);
  await clock.advance(2200);
  t.ok(made, 'it goes on all the same');
  await waiting;
  umount.release();
  await process.exit();
  await run((task) => sync_filesystem(task, sb));
  t.notOk(sb.s_wb.dirty);
  t.equal(await world.end(), 0);
  t.same(world.violations, []);
});

t.test('dentries that were used again are passed by once', async (t) => {
  const world = await newWorld();
  const { root, run, sb } = world;
  await run(async (task) => {
    for (const name of ['a', 'b', 'c']) await dput(task, await do_create(task, root, name, 0o644, true));
    await dput(task, await lookup_one(task, root, 'a'));
    t.equal(await prune_dcache_sb(task, sb, 2), 1);
    t.ok(root.d_children?.has('a'));
    t.notOk(root.d_children?.has('b'));
  });
  await world.end();
});

t.test('an inode that is dirty or in use is not pruned', async (t) => {
  const world = await newWorld();
  const { root, run, sb } = world;
  await run(async (task) => {
    const dentry = await do_create(task, root, 'a', 0o644, true);
    const { i_ino: ino } = inodeOf(dentry);
    const { sync_filesystem } = await import('../../src/fs/sync.js');
    await sync_filesystem(task, sb);
    await prune_icache_sb(task, sb, 100);
    t.ok(sb.inodeHash.has(ino), 'its dentry holds it');
    await dput(task, dentry);
    await prune_dcache_sb(task, sb, 100);
    const held = ilookup(sb, ino);
    t.ok(held);
    if (held !== undefined) await iput(task, held);
    for (let i = 0; i < 2; i++) await prune_icache_sb(task, sb, 100);
    t.notOk(sb.inodeHash.has(ino));
  });
  await world.end();
});

t.test('an inode by its number: one is read once for many, and found in its place', async (t) => {
  const world = await newWorld();
  const { root, run, sb } = world;
  const ino = await run(async (task) => {
    const dir = await do_mkdir(task, root, 'd', 0o755);
    const sub = await do_mkdir(task, dir, 'e', 0o755);
    const found = inodeOf(sub).i_ino;
    await dput(task, sub);
    await dput(task, dir);
    return found;
  });
  await run(async (task) => {
    const { sync_filesystem } = await import('../../src/fs/sync.js');
    await sync_filesystem(task, sb);
    for (let i = 0; i < 2; i++) await shrink_slab(task, world.machine.memory, 0);
  });
  t.notOk(sb.inodeHash.has(ino));
  const found = await Promise.all(
    Array.from({ length: 5 }, () => run((task) => Promise.resolve(dentry_of_ino(task, sb, ino)))),
  );
  t.equal(new Set(found.map((dentry) => dentry.d_inode)).size, 1);
  for (const dentry of found) {
    t.ok(is_subdir(dentry, root), 'a directory is connected to the root');
    t.equal(dentry.d_name, 'e');
    await run((task) => dput(task, dentry));
  }
  t.equal(await outcome(() => run((task) => Promise.resolve(dentry_of_ino(task, sb, 999_999)))), 'ESTALE');
  await run(async (task) => {
    const inode = await iget_locked(task, sb, ino);
    t.equal(inode.i_ino, ino);
    await iput(task, inode);
  });
  t.equal(await world.end(), 0);
});

t.test('a file that lost its last name lives as long as it is open', async (t) => {
  const world = await newWorld();
  const { root, run, sb } = world;
  await run(async (task) => {
    const dentry = await do_create(task, root, 'a', 0o644, true);
    const { i_ino: ino } = inodeOf(dentry);
    const file = await vfs_open(task, dentry, O_RDWR);
    await dput(task, dentry);
    await do_unlink(task, root, 'a');
    t.ok(sb.inodeHash.has(ino));
    await fput(task, file);
    t.notOk(sb.inodeHash.has(ino), 'with the last close it is gone');
  });
  t.equal(await world.end(), 0);
});

t.test('a name that is not there keeps no directory that was removed', async (t) => {
  const world = await newWorld();
  const { root, run, sb } = world;
  await run(async (task) => {
    const dir = await do_mkdir(task, root, 'd', 0o755);
    const { i_ino: ino } = inodeOf(dir);
    // Somebody looks for a name while the directory goes.
    const missing = await lookup_one(task, dir, 'missing');
    t.ok(missing.isNegative);
    await do_rmdir(task, root, 'd');
    await dput(task, missing);
    t.ok(sb.inodeHash.has(ino), 'it is in use');
    await dput(task, dir);
    t.notOk(sb.inodeHash.has(ino));
  });
  t.equal(await world.end(), 0);
  t.same(world.violations, []);
});

t.test('a directory that was removed can still be found by its number', async (t) => {
  const world = await newWorld();
  const { root, run, sb } = world;
  await run(async (task) => {
    const dentry = await do_mkdir(task, root, 'd', 0o755);
    const inode = inodeOf(dentry);
    ihold(inode);
    await dput(task, dentry);
    await do_rmdir(task, root, 'd');
    const found = await dentry_of_ino(task, sb, inode.i_ino);
    t.equal(found.d_inode, inode);
    t.equal((await vfs_getattr(task, found, 0xfff, 0)).nlink, 0);
    t.equal(await outcome(() => do_create(task, found, 'x', 0o644, true)), 'ENOENT');
    await dput(task, found);
    await iput(task, inode);
  });
  t.equal(await world.end(), 0);
});

t.test('freezing waits for who is in, and keeps out who comes', async (t) => {
  const world = await newWorld();
  const process = new Process(world.sb);
  const sys = syscalls(process);
  const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
  const order: string[] = [];
  const note = (what: string) => (): void => {
    order.push(what);
  };
  const before = sys.write(fd, Buffer.alloc(100)).then(note('write before'));
  const frozen = world.run((task) => freeze_super(task, world.sb)).then(note('frozen'));
  await frozen;
  const writes = [
    sys.write(fd, Buffer.alloc(100)).then(note('write')),
    sys.mkdir('/d', 0o755).then(note('mkdir')),
    sys.chmod('/f', 0o600).then(note('chmod')),
    sys.truncate('/f', 0).then(note('truncate')),
    sys.setxattr('/f', 'user.x', Buffer.from('1')).then(note('setxattr')),
    sys.fallocate(fd, 0, 0, 4096).then(note('fallocate')),
  ];
  await sys.stat('/f');
  t.equal((await sys.pread(fd, 10, 0)).length, 10);
  await before;
  t.same(order, ['write before', 'frozen']);
  t.notOk(world.sb.s_wb.dirty, 'a frozen filesystem is clean');
  t.equal(await outcome(() => world.run((task) => freeze_super(task, world.sb))), 'EBUSY');
  const interrupted = sys.rmdir('/none');
  await world.run((task) => thaw_super(task, world.sb));
  await Promise.all(writes);
  t.equal(order.length, 8);
  t.equal(await outcome(() => interrupted), 'ENOENT');
  t.equal(await outcome(() => world.run((task) => thaw_super(task, world.sb))), 'EINVAL');
  await sys.close(fd);
  await process.exit();
  t.equal(await world.end(), 0);
  t.same(
    world.violations.map(({ message }) => message),
    [],
  );
});

t.test('a file whose release fails is closed all the same, and nobody is told', async (t) => {
  const world = await newWorld();
  const { root, run } = world;
  await run(async (task) => {
    const dentry = await do_create(task, root, 'f', 0o644, true);
    const inode = inodeOf(dentry);
    const file = await vfs_open(task, dentry, O_RDWR);
    file.f_op = {
      ...file.f_op,
      release: () => {
        throw errno('EIO');
      },
    };
    t.equal(inode.i_writecount, 1);
    t.equal(await outcome(() => fput(task, file)), 'ok');
    t.equal(inode.i_writecount, 0);
    await dput(task, dentry);
  });
  t.equal(await world.end(), 0, 'it keeps no reference');
});

t.test('who ends closes all, whatever a filesystem reports', async (t) => {
  const world = await newWorld();
  const process = new Process(world.sb);
  const sys = syscalls(process);
  const open = async (): Promise<number> => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    const file = process.files.get(fd);
    file.f_op = {
      ...file.f_op,
      flush: () => {
        throw errno('EIO');
      },
    };
    return fd;
  };
  t.equal(await outcome(async () => sys.close(await open())), 'EIO');
  const [first, second] = [await open(), await open()];
  t.equal(await sys.dup3(first, second), second, 'dup3 does not say what became of the file that was there');
  for (let i = 0; i < 3; i++) await open();
  t.equal(await outcome(() => process.exit()), 'ok');
  t.equal(await world.end(), 0);
  t.same(world.violations, []);
});
