/** What latch says of its inodes, how they are asked for by ioctl, and how they end. */

import t, { type Test } from 'tap';
import { DROP_PAGECACHE, DROP_SLAB, drop_caches } from '../../src/fs/drop-caches.js';
import { show_mount_options } from '../../src/fs/namespace.js';
import { posix_acl_to_xattr } from '../../src/fs/posix-acl-xattr.js';
import { SB_NOATIME, sb_init_flags } from '../../src/fs/super-block.js';
import { Process, type Syscalls, syscalls } from '../../src/fs/syscalls.js';
import { touch_atime } from '../../src/fs/time.js';
import { infoOf } from '../../src/latch/info.js';
import { LatchInode } from '../../src/latch/inode.js';
import { Lockdep } from '../../src/locking/lockdep.js';
import { errno } from '../../src/sched/errno.js';
import { Task } from '../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../src/uapi/fcntl.js';
import {
  FS_IOC_FSSETXATTR,
  FS_IOC_GETFLAGS,
  FS_IOC_GETFSUUID,
  FS_IOC_GETVERSION,
  FS_IOC_SETFLAGS,
} from '../../src/uapi/ioctl.js';
import { STATX_ATTR_NODUMP } from '../../src/uapi/stat.js';
import { newWorld, opsCalled, outcome, user, type World } from '../fs/world.js';

async function withSys(
  t: Test,
  body: (sys: Syscalls, world: World, process: Process) => Promise<void>,
  flags = 0,
): Promise<void> {
  const world = await newWorld({ flags });
  const process = new Process(world.sb);
  await body(syscalls(process), world, process);
  await process.exit();
  t.equal(await world.end(), 0);
  t.same(
    world.violations.map(({ message }) => message),
    [],
  );
}

function cached({ sb }: World, ino: number): LatchInode {
  const inode = sb.inodeHash.get(ino);
  if (!(inode instanceof LatchInode)) throw new Error(`inode ${ino} is not in memory`);
  return inode;
}

/** Write everything and forget what nobody uses. */
async function forget(sys: Syscalls, { run, sb }: World): Promise<void> {
  await sys.sync();
  for (let i = 0; i < 2; i++) await run((task) => drop_caches(task, sb, DROP_PAGECACHE | DROP_SLAB));
}

t.test('getattr tells the flags that statx knows', async (t) => {
  await withSys(t, async (sys) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    const before = await sys.fstat(fd);
    t.equal(before.attributes_mask & STATX_ATTR_NODUMP, STATX_ATTR_NODUMP, 'known');
    t.equal(before.attributes & STATX_ATTR_NODUMP, 0);
    await sys.ioctl(fd, FS_IOC_SETFLAGS, Buffer.from([0x40, 0, 0, 0]));
    t.equal((await sys.fstat(fd)).attributes & STATX_ATTR_NODUMP, STATX_ATTR_NODUMP, 'and set');
  });
});

t.test(
  'ioctl: that a file shall be mapped without the page cache cannot be kept, whichever way it is said',
  async (t) => {
    await withSys(t, async (sys) => {
      const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
      const flags = Buffer.alloc(4);
      flags.writeUInt32LE(0x02000000);
      t.equal(await outcome(() => sys.ioctl(fd, FS_IOC_SETFLAGS, flags)), 'EOPNOTSUPP');
      const fsx = Buffer.alloc(28);
      fsx.writeUInt32LE(0x8000 | 0x80);
      t.equal(await outcome(() => sys.ioctl(fd, FS_IOC_FSSETXATTR, fsx)), 'EOPNOTSUPP');
      t.equal((await sys.ioctl(fd, FS_IOC_GETFLAGS)).readUInt32LE(), 0, 'and nothing else of it was done');
    });
  },
);

t.test('ioctl: what stays immutable keeps its flags and its project', async (t) => {
  await withSys(t, async (sys) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    const fsx = (xflags: number, projid: number): Promise<string> => {
      const bytes = Buffer.alloc(28);
      bytes.writeUInt32LE(xflags);
      bytes.writeUInt32LE(projid, 12);
      return outcome(() => sys.ioctl(fd, FS_IOC_FSSETXATTR, bytes));
    };
    t.equal(await fsx(0x8, 5), 'ok', 'it becomes immutable, and of a project');
    t.equal(await fsx(0x8, 5), 'ok', 'nothing changes');
    t.equal(await fsx(0x8, 6), 'EPERM', 'another project');
    t.equal(await fsx(0x8 | 0x80, 5), 'EPERM', 'another flag');
    t.equal(await outcome(() => sys.ioctl(fd, FS_IOC_SETFLAGS, Buffer.from([0x50, 0, 0, 0]))), 'EPERM', 'either way');
    t.equal(await fsx(0x80, 6), 'ok', 'it may change as it becomes mutable');
  });
});

t.test('ioctl: the generation, also for programs of 32 bits, and the identity', async (t) => {
  await withSys(t, async (sys, { sb }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    const other = await sys.open('/g', O_CREAT | O_RDWR, 0o644);
    const generation = (await sys.ioctl(fd, FS_IOC_GETVERSION)).readUInt32LE();
    t.not((await sys.ioctl(other, FS_IOC_GETVERSION)).readUInt32LE(), generation, 'each has its own');
    t.equal((await sys.ioctl32(fd, 0x80047601)).readUInt32LE(), generation);
    t.equal(await outcome(() => sys.ioctl32(fd, FS_IOC_GETVERSION)), 'ENOTTY', 'such a program says it otherwise');
    t.equal(await outcome(() => sys.ioctl(fd, 0x40087602, Buffer.alloc(4))), 'ENOTTY', 'and it stays');
    await sys.ioctl32(fd, 0x40046602, Buffer.from([0x40, 0, 0, 0]));
    t.equal((await sys.ioctl(fd, FS_IOC_GETFLAGS)).readUInt32LE(), 0x40);
    t.same(
      await sys.ioctl(await sys.open('/', 0), FS_IOC_GETFSUUID),
      Buffer.concat([Buffer.from([16]), infoOf(sb).super.uuid]),
    );
  });
});

t.test('an inode is taken apart when no RCU section can see it any more', async (t) => {
  await withSys(t, async (sys, world) => {
    const { sb } = world;
    await sys.close(await sys.open('/f', O_CREAT | O_RDWR, 0o644));
    const { ino } = await sys.stat('/f');
    const inode = cached(world, ino);
    // As on another processor: among tasks of one, nobody runs while a section is open, which would be told.
    const reader = new Task(sb.sched, new Lockdep('off', () => undefined), { comm: 'elsewhere' });
    const section = sb.rcu.read(reader);
    await sys.unlink('/f');
    t.notOk(sb.inodeHash.has(ino), 'it is gone');
    t.equal(inode.area.length > 0, true, 'but who has found it before can look at it');
    section.release();
    t.throws(() => inode.area, /EIO|freed/, 'afterwards nobody');
  });
});

t.test('the list of a file, asked for by its name, comes from the device', async (t) => {
  await withSys(t, async (sys, world, process) => {
    await sys.close(await sys.open('/f', O_CREAT | O_RDWR, 0o600));
    const list = posix_acl_to_xattr([
      { tag: 1, id: undefined, perm: 6 },
      { tag: 2, id: 1000, perm: 4 },
      { tag: 4, id: undefined, perm: 0 },
      { tag: 16, id: undefined, perm: 4 },
      { tag: 32, id: undefined, perm: 0 },
    ]);
    await sys.setxattr('/f', 'system.posix_acl_access', list);
    await forget(sys, world);
    const called = await opsCalled(world, async () => {
      t.same(await sys.getxattr('/f', 'system.posix_acl_access'), list);
    });
    t.ok(called.includes('get_acl'), 'by ->get_acl');
    const them = process.fork({ cred: user(1000) });
    t.equal(await outcome(() => syscalls(them).open('/f', 0)), 'ok', 'and what it said counts from then on');
    await them.exit();
  });
});

t.test('trusted attributes are listed by who may see them', async (t) => {
  await withSys(t, async (sys, _world, process) => {
    await sys.close(await sys.open('/f', O_CREAT | O_RDWR, 0o644));
    await sys.setxattr('/f', 'trusted.t', Buffer.from('1'));
    await sys.setxattr('/f', 'user.u', Buffer.from('1'));
    t.same((await sys.listxattr('/f')).sort(), ['trusted.t', 'user.u']);
    const them = process.fork({ cred: user(1000) });
    t.same(await syscalls(them).listxattr('/f'), ['user.u']);
    await them.exit();
  });
});

t.test('the options of a mount: of the VFS first, then its own', async (t) => {
  await withSys(
    t,
    async (_sys, { run, sb }) => {
      t.equal(await run((task) => show_mount_options(task, sb)), 'rw,noatime,size=65536k,data=ordered');
    },
    SB_NOATIME,
  );
});

t.test('a journal that was aborted keeps no times, which fails no read', async (t) => {
  const world = await newWorld();
  const process = new Process(world.sb);
  const sys = syscalls(process);
  await sys.close(await sys.open('/f', O_CREAT | O_RDWR, 0o644));
  await sys.sync();
  const { ino, atime } = await sys.stat('/f');
  const inode = cached(world, ino);
  inode.i_atime = { sec: 0, nsec: 0 };
  infoOf(world.sb).journal.abort(errno('EIO'));
  // The flag would end it earlier.
  sb_init_flags(world.sb, world.sb.s_flags & ~1);
  t.ok(atime);
  await world.run((task) => touch_atime(task, inode));
  t.equal(inode.i_atime.sec, 0, 'it stays as it was');
  sb_init_flags(world.sb, world.sb.s_flags | 1);
  await process.exit();
  await world.end();
});

t.test('a long symlink is written without a look at what lay in its block', async (t) => {
  let failing = false;
  const world = await newWorld({ faults: ({ op }) => (failing && op === 'read' ? { error: 'EIO' } : undefined) });
  const process = new Process(world.sb);
  const sys = syscalls(process);
  await sys.symlink('first'.repeat(100), '/first');
  failing = true;
  t.equal(await outcome(() => sys.symlink('second'.repeat(100), '/second')), 'ok');
  failing = false;
  await forget(sys, world);
  t.equal(await sys.readlink('/second'), 'second'.repeat(100));
  await process.exit();
  t.equal(await world.end(), 0);
});
