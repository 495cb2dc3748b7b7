/** State that is touched without its lock, where a caller of the VFS or of the memory could forget it. */

import t from 'tap';
import { Dentry } from '../../src/fs/dentry.js';
import { setfl } from '../../src/fs/fcntl.js';
import { File, FMODE_READ } from '../../src/fs/file.js';
import { writeback_sb_inodes } from '../../src/fs/fs-writeback.js';
import { I_DIRTY_PAGES, I_DIRTY_SYNC, I_DIRTY_TIME } from '../../src/fs/inode.js';
import { FileLockContext } from '../../src/fs/locks/file-lock-context.js';
import { may_create } from '../../src/fs/namei/permission.js';
import {
  file_end_write,
  file_start_write,
  freeze_super,
  sb_end_write,
  sb_start_write,
  thaw_super,
} from '../../src/fs/super-freeze.js';
import { sync_filesystem } from '../../src/fs/sync.js';
import { Process, syscalls } from '../../src/fs/syscalls.js';
import { WorkQueue } from '../../src/fs/workqueue.js';
import { infoOf, with_handle } from '../../src/latch/info.js';
import {
  folio_clear_dirty_for_io,
  folio_end_writeback,
  folio_start_writeback,
  folio_unlock,
} from '../../src/mm/filemap.js';
import { Folio, folio_put } from '../../src/mm/folio.js';
import { MmStruct } from '../../src/mm/mm-struct.js';
import { set_pte } from '../../src/mm/rmap.js';
import { SwapInfo } from '../../src/mm/swap-info.js';
import { VmArea } from '../../src/mm/vma.js';
import { FASYNC, O_CREAT, O_RDWR } from '../../src/uapi/fcntl.js';
import { newWorld, type World } from './world.js';

/** The rules that were broken since it was asked last. */
const rules = (world: World): string[] => world.violations.splice(0).map(({ rule }) => rule);

t.test('a change without having come in as a writer', async (t) => {
  const world = await newWorld();
  const { sb, root } = world;
  const task = world.task();
  const { d_inode: dir } = root;
  if (dir === undefined) throw new Error('no root');
  const dentry = new Dentry(sb, 'new', root, {});
  await may_create(task, dir, dentry);
  t.strictSame(rules(world), ['guarded#what a freeze keeps still']);
  const writing = await sb_start_write(task, sb);
  await may_create(task, dir, dentry);
  sb_end_write(writing);
  t.strictSame(rules(world), []);
  t.not(await file_start_write(task, sb), 'entered', 'with stacks a write of data takes the lock');
  await world.end();
});

t.test('a freeze that does not keep everybody out', async (t) => {
  const world = await newWorld();
  const { sb } = world;
  const { s_writers: writers } = sb;
  // A write of data is under way that the freeze has not waited for: here it begins too late.
  const op = sb.s_op;
  sb.s_op = {
    ...op,
    sync_fs: (task, sb, wait) => {
      writers.entered = 1;
      return op.sync_fs?.(task, sb, wait);
    },
  };
  await world.run((task) => freeze_super(task, sb));
  sb.s_op = op;
  t.strictSame(rules(world), ['freeze#waits-for-writers']);
  file_end_write(sb, 'entered');
  t.strictSame(rules(world), ['freeze#waits-for-writers'], 'and who has written hears of it');
  t.equal(writers.entered, 0);
  // A change of the filesystem's own while it stands still.
  await world.run((task) => with_handle(task, infoOf(sb), () => undefined));
  t.strictSame(rules(world), ['guarded#what a freeze keeps still']);
  // Writers come in before unfreeze_fs has said that the device changes.
  for (const held of writers.held.splice(0).reverse()) held.release();
  await world.run((task) => thaw_super(task, sb));
  t.strictSame(rules(world).slice(0, 1), ['guarded#a filesystem that stands still']);
  await world.run((task) => freeze_super(task, sb));
  await world.run((task) => thaw_super(task, sb));
  t.strictSame(rules(world), []);
  await world.end();
});

t.test('a freeze that leaves dirty what was dirty before', async (t) => {
  const world = await newWorld();
  const { sb } = world;
  const op = sb.s_op;
  const sys = syscalls(new Process(sb));
  const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
  const inode = sb.inodeHash.get((await sys.fstat(fd)).ino);
  if (inode === undefined) throw new Error('not in memory');
  /** Freeze and thaw; after the sync the file is dirty, since then or since before. */
  const freeze = async (flags: number, since: number | undefined) => {
    sb.s_op = {
      ...op,
      sync_fs: (task, sb, wait) => {
        if (wait) sb.s_wb.mark(task, inode, flags);
        if (wait && since !== undefined) inode.dirtied_when = inode.dirtied_time_when = since;
        return op.sync_fs?.(task, sb, wait);
      },
    };
    await world.run((task) => freeze_super(task, sb));
    sb.s_op = op;
    await world.run((task) => thaw_super(task, sb));
    await sys.sync();
  };
  for (const [flags, words] of [
    [I_DIRTY_PAGES, 'pages that were dirty'],
    [I_DIRTY_SYNC, 'inodes that were dirty'],
    [I_DIRTY_TIME, 'inodes that were dirty'],
  ] as const) {
    await freeze(flags, 0);
    t.match(world.violations, [{ rule: 'freeze#writes-what-is-dirty', message: words }]);
    rules(world);
    await freeze(flags, undefined);
    t.strictSame(rules(world), [], 'what the filesystem itself has dirtied since is its own business');
  }
  await sys.close(fd);
  await world.end();
});

t.test('the list on which an inode waits to be written changes under i_lock', async (t) => {
  const world = await newWorld();
  const { sb } = world;
  const process = new Process(sb);
  const sys = syscalls(process);
  const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
  await sys.write(fd, Buffer.from('x'));
  const [inode] = sb.s_wb.all();
  if (inode === undefined) throw new Error('nothing dirty');
  const task = world.task();
  sb.s_wb.move(task, inode, sb.s_wb.b_more_io);
  t.strictSame(rules(world), ['guarded#inode.i_io_list']);
  const held = inode.i_lock.lock(task);
  sb.s_wb.move(task, inode, sb.s_wb.b_dirty);
  held.release();
  await sys.close(fd);
  await process.exit();
  await world.end();
  t.strictSame(rules(world), []);
});

t.test('a file that loses its last name while the filesystem is frozen goes after the thaw', async (t) => {
  const world = await newWorld();
  const { sb } = world;
  const sys = syscalls(new Process(sb));
  const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
  await sys.write(fd, Buffer.alloc(20_000, 'a'));
  const { ino } = await sys.fstat(fd);
  await sys.unlink('/f');
  const free = (await sys.statfs('/')).f_bfree;
  await world.run((task) => freeze_super(task, sb));
  const closing = sys.close(fd);
  for (let i = 0; i < 20; i++) await sb.sched.yield();
  t.ok(sb.inodeHash.has(ino), 'it waits');
  await world.run((task) => thaw_super(task, sb));
  await closing;
  t.notOk(sb.inodeHash.has(ino));
  await sys.sync();
  t.ok((await sys.statfs('/')).f_bfree > free);
  t.strictSame(rules(world), []);
  await world.end();
});

t.test('a sync of a filesystem that does not wait for what others write', async (t) => {
  const world = await newWorld();
  const { sb } = world;
  const sys = syscalls(new Process(sb));
  const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
  await sys.write(fd, Buffer.alloc(4096, 'a'));
  await sys.fsync(fd);
  await sys.write(fd, Buffer.alloc(4096, 'b'));
  const folio = sb.inodeHash.get((await sys.fstat(fd)).ino)?.i_mapping.i_pages.load(1);
  const { s_bdi: bdi } = sb;
  if (folio === undefined || bdi === undefined) throw new Error('not cached');
  const flush = world.task();
  await folio.lock.lock(flush);
  folio_clear_dirty_for_io(flush, folio);
  folio_start_writeback(flush, folio);
  folio_unlock(flush, folio);
  // It looks as if nothing were being written.
  const { nr_writeback } = bdi;
  bdi.nr_writeback = 0;
  await world.run((task) => sync_filesystem(task, sb));
  t.strictSame(rules(world), ['sync#waits-for-what-it-writes']);
  bdi.nr_writeback = nr_writeback;
  const syncing = world.run((task) => sync_filesystem(task, sb));
  for (let i = 0; i < 20; i++) await sb.sched.yield();
  folio_end_writeback(flush, folio);
  await syncing;
  t.strictSame(rules(world), []);
  await sys.close(fd);
  await world.end();
});

t.test('fasync that leaves FASYNC alone', async (t) => {
  const world = await newWorld();
  const { root } = world;
  const { d_inode: inode } = root;
  if (inode === undefined) throw new Error('no root');
  const file = new File(root, inode, 0, FMODE_READ, world.task().cred);
  file.f_op = { fasync: () => undefined };
  await setfl(world.task(), file, FASYNC);
  t.strictSame(rules(world), ['file_operations.fasync#maintains-FASYNC']);
  file.f_op = {
    fasync: (_task, _fd, opened, on) => {
      if (on) opened.f_flags |= FASYNC;
      else opened.f_flags &= ~FASYNC;
    },
  };
  await setfl(world.task(), file, 0);
  await setfl(world.task(), file, FASYNC);
  t.strictSame(rules(world), []);
  await world.end();
});

t.test('areas, page tables and swap slots', async (t) => {
  const world = await newWorld();
  const task = world.task();
  const mm = new MmStruct(world.machine.memory);
  const vma = new VmArea(mm, 0x100000, 0x102000, 0, 0, undefined);
  mm.insert(task, vma);
  const held = await mm.mmap_lock.read(task);
  mm.remove(task, vma);
  held.release();
  t.strictSame(
    rules(world),
    ['guarded#vm_area_struct', 'guarded#vm_area_struct'],
    'shared is not enough to change them',
  );
  const folio = new Folio(world.machine.memory, undefined, 0);
  const other = new MmStruct(world.machine.memory).page_table_lock.lock(task);
  set_pte(task, mm, 0x100, folio, false, false);
  other.release();
  t.strictSame(rules(world), ['guarded#page tables'], 'nor is the lock of another process');
  folio.mapcount = 0;
  folio_put(folio);
  folio_put(folio);
  const { d_inode: inode } = world.root;
  if (inode === undefined) throw new Error('no root');
  const si = new SwapInfo(new File(world.root, inode, 0, FMODE_READ, task.cred), 8);
  t.equal(si.scan(task), 1);
  t.strictSame(rules(world), ['guarded#swap_map']);
  await world.end();
});

t.test('the lists of file locks, and the inodes of a superblock', async (t) => {
  const world = await newWorld();
  const task = world.task();
  const context = new FileLockContext();
  t.strictSame([context.flc_posix(task), context.flc_flock(task), context.flc_lease(task)], [[], [], []]);
  t.equal(rules(world).length, 3);
  const held = context.flc_lock.lock(task);
  context.flc_posix(task);
  held.release();
  t.equal(context.hasLease, false);
  t.strictSame(rules(world), [], 'with the lock, or at a glance');
  await writeback_sb_inodes(task, world.sb, { sync_mode: 'WBC_SYNC_NONE' });
  t.strictSame(rules(world), ['guarded#the inodes of a superblock as a whole']);
  await world.end();
});

t.test('d_lock of a parent comes before that of its child, unless every rename is kept out', async (t) => {
  const world = await newWorld();
  const { sb, root } = world;
  const task = world.task();
  const child = new Dentry(sb, 'child', root, {});
  const both = (first: Dentry, second: Dentry): void => {
    using _first = first.d_lock.lock(task);
    using _second = second.d_lock.lock(task, 1);
  };
  both(root, child);
  t.strictSame(rules(world), []);
  both(child, root);
  t.strictSame(rules(world), ['dcache#parent-d_lock-first']);
  {
    using _renames = sb.rename_lock.write(task);
    both(child, root);
  }
  t.strictSame(rules(world), []);
  await world.end();
});

t.test('work in the background that fails tells of it, and the next is done', async (t) => {
  const world = await newWorld();
  const queue = new WorkQueue(world.sb, 'ends');
  const done = new Promise<void>((resolve) => {
    queue.queue_work(() => Promise.reject(new Error('planted')));
    queue.queue_work(async () => resolve());
  });
  await done;
  t.match(world.violations.splice(0), [
    { rule: 'task#fails-in-no-background', message: 'ends failed: Error: planted' },
  ]);
  await world.end();
});
