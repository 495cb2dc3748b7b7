/** Times of files, and when what is dirty is written, with a clock that the test moves. */

import t from 'tap';
import { SB_LAZYTIME, SB_NOATIME, SB_NODIRATIME, SB_RDONLY } from '../../src/fs/super-block.js';
import { Process, type Syscalls, syscalls } from '../../src/fs/syscalls.js';
import type { Timespec } from '../../src/sched/time.js';
import { O_CREAT, O_RDWR } from '../../src/uapi/fcntl.js';
import { MS_STRICTATIME } from '../../src/uapi/mount.js';
import { newWorld, StillClock, type World, type WorldOptions } from './world.js';

interface Still {
  readonly clock: StillClock;
  readonly sys: Syscalls;
  readonly world: World;
  end(): Promise<void>;
}

async function still(flags = 0, options: WorldOptions = {}): Promise<Still> {
  const clock = new StillClock();
  const world = await newWorld({ ...options, sched: clock, flags });
  const process = new Process(world.sb);
  return {
    clock,
    sys: syscalls(process),
    world,
    end: async () => {
      await process.exit();
      await world.end();
    },
  };
}

const DAY = 86_400_000;
const same = (a: Timespec, b: Timespec): boolean => a.sec === b.sec && a.nsec === b.nsec;

t.test('relatime', async (t) => {
  const { clock, sys, end } = await still();
  const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
  await sys.write(fd, Buffer.from('x'));
  const atime = async (): Promise<Timespec> => (await sys.fstat(fd)).atime;
  await clock.advance(10_000);
  const first = await atime();
  await sys.pread(fd, 1, 0);
  const read = await atime();
  t.notOk(same(first, read), 'the first read after a change moves it');
  await clock.advance(10_000);
  await sys.pread(fd, 1, 0);
  t.ok(same(await atime(), read), 'the next does not');
  await clock.advance(DAY);
  await sys.pread(fd, 1, 0);
  t.notOk(same(await atime(), read), 'a day later it does');
  await clock.advance(1000);
  const before = await sys.fstat(fd);
  await sys.chmod('/f', 0o600);
  const after = await sys.fstat(fd);
  t.ok(same(after.mtime, before.mtime) && !same(after.ctime, before.ctime), 'chmod changes ctime only');
  await sys.close(fd);
  await end();
});

t.test('strictatime', async (t) => {
  const { clock, sys, end } = await still(MS_STRICTATIME);
  const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
  await sys.write(fd, Buffer.from('x'));
  const atime = async (): Promise<Timespec> => (await sys.fstat(fd)).atime;
  for (const which of ['first', 'second']) {
    const before = await atime();
    await clock.advance(10_000);
    await sys.pread(fd, 1, 0);
    t.notOk(same(await atime(), before), `the ${which} read moves it`);
  }
  await sys.close(fd);
  await end();
});

t.test('noatime and nodiratime', async (t) => {
  for (const [flags, fileMoves, dirMoves] of [
    [SB_NOATIME, false, false],
    [SB_NODIRATIME, true, false],
    [0, true, true],
  ] as const) {
    const { clock, sys, end } = await still(flags);
    await sys.mkdir('/d', 0o755);
    await sys.mkdir('/d/e', 0o755);
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.from('x'));
    const dir = await sys.open('/d', 0);
    const before = [(await sys.fstat(fd)).atime, (await sys.fstat(dir)).atime] as const;
    await clock.advance(10_000);
    await sys.pread(fd, 1, 0);
    await sys.getdents(dir);
    const after = [(await sys.fstat(fd)).atime, (await sys.fstat(dir)).atime] as const;
    t.equal(!same(before[0], after[0]), fileMoves, `file, flags ${flags}`);
    t.equal(!same(before[1], after[1]), dirMoves, `directory, flags ${flags}`);
    for (const open of [fd, dir]) await sys.close(open);
    await end();
  }
});

t.test('a change after a stat shows another time than the stat did', async (t) => {
  const { clock, sys, end } = await still();
  const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
  await sys.write(fd, Buffer.from('x'));
  const seen = await sys.fstat(fd);
  await clock.advance(1);
  await sys.pwrite(fd, Buffer.from('y'), 0);
  const later = await sys.fstat(fd);
  t.notOk(same(seen.mtime, later.mtime), 'within a tick of the coarse clock');
  await sys.close(fd);
  await end();
});

t.test('where somebody else stamps files, too, times are those of ticks', async (t) => {
  const { clock, sys, end } = await still(0, { multigrain: false });
  const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
  for (const [advance, moves] of [
    [1, false],
    [4, true],
  ] as const) {
    const seen = await sys.fstat(fd);
    await clock.advance(advance);
    await sys.pwrite(fd, Buffer.from('y'), 0);
    const later = await sys.fstat(fd);
    t.equal(!same(seen.ctime, later.ctime), moves, `after ${advance} ms`);
    t.equal(later.mtime.nsec % 4e6, 0);
  }
  await sys.close(fd);
  await end();
});

t.test('what is dirty is written after thirty seconds', async (t) => {
  const { clock, sys, world, end } = await still();
  const { s_wb: wb } = world.sb;
  await sys.sync();
  t.notOk(wb.dirty);
  const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
  await sys.write(fd, Buffer.alloc(10_000, 1));
  const { f_inode: inode } = { f_inode: [...wb.b_dirty].find(({ i_size }) => i_size === 10_000) };
  t.ok(inode?.mappingIfAny?.i_pages.marked('dirty'));
  await clock.advance(20_000);
  t.ok(inode?.mappingIfAny?.i_pages.marked('dirty'), 'young data stay');
  await clock.advance(25_000);
  t.notOk(inode?.mappingIfAny?.i_pages.marked('dirty'), 'old data go');
  t.equal(inode?.i_io_list, undefined, 'and the inode with them');
  await sys.close(fd);
  await end();
});

t.test('lazytime keeps times back until something else is written, or half a day', async (t) => {
  const { clock, sys, world, end } = await still(SB_LAZYTIME);
  const { s_wb: wb } = world.sb;
  const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
  await sys.write(fd, Buffer.from('x'));
  await sys.fsync(fd);
  await sys.sync();
  await clock.advance(10_000);
  await sys.pread(fd, 1, 0);
  t.equal(wb.b_dirty_time.size, 1, 'only its time is dirty');
  await clock.advance(60_000);
  t.equal(wb.b_dirty_time.size, 1, 'and waits');
  await sys.fsync(fd);
  t.equal(wb.b_dirty_time.size, 0, 'fsync takes it along');
  await clock.advance(DAY + 1000);
  await sys.pread(fd, 1, 0);
  t.equal(wb.b_dirty_time.size, 1);
  await clock.advance(DAY / 2 + 60_000);
  t.equal(wb.b_dirty_time.size, 0, 'half a day is enough');
  await sys.close(fd);
  await end();
});

t.test('how long is what the machine says', async (t) => {
  const writeback = { interval: 1_000, expire: 2_000, dirtytime_expire: 60_000 };
  const { clock, sys, world, end } = await still(SB_LAZYTIME, { writeback });
  const { s_wb: wb } = world.sb;
  const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
  await sys.sync();
  await sys.write(fd, Buffer.from('x'));
  const [inode] = wb.b_dirty;
  await clock.advance(3_500);
  t.notOk(inode?.mappingIfAny?.i_pages.marked('dirty'), 'data');
  await sys.fsync(fd);
  await clock.advance(DAY + 1000);
  await sys.pread(fd, 1, 0);
  t.equal(wb.b_dirty_time.size, 1);
  await clock.advance(30_000);
  t.equal(wb.b_dirty_time.size, 1);
  await clock.advance(32_000);
  t.equal(wb.b_dirty_time.size, 0, 'times');
  await sys.close(fd);
  await end();
  const never = await still(SB_LAZYTIME, { writeback: { interval: 0, dirtytime_expire: 0 } });
  const kept = await never.sys.open('/f', O_CREAT | O_RDWR, 0o644);
  await never.sys.write(kept, Buffer.from('x'));
  await never.clock.advance(3 * DAY);
  t.equal(never.world.sb.s_wb.count > 0, true, 'no rounds at all');
  await never.sys.close(kept);
  await never.end();
});

t.test('a read-only filesystem has no times to change', async (t) => {
  const { clock, sys, world, end } = await still();
  await sys.close(await sys.open('/f', O_CREAT | O_RDWR, 0o644));
  await sys.remount('/', SB_RDONLY);
  const before = await sys.stat('/f');
  await clock.advance(2 * DAY);
  const fd = await sys.open('/f', 0);
  await sys.read(fd, 1);
  t.ok(same((await sys.fstat(fd)).atime, before.atime));
  await sys.close(fd);
  t.notOk(world.sb.s_wb.dirty);
  await end();
});

t.test('a lease that is not given up is taken after 45 seconds', async (t) => {
  const { clock, sys, world, end } = await still();
  const holder = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
  await sys.fcntl_lease(holder, 'F_WRLCK');
  const other = new Process(world.sb);
  const theirs = syscalls(other);
  let fd = -1;
  const opening = theirs.open('/f', 0).then((got) => {
    fd = got;
  });
  await clock.rest();
  await clock.advance(44_000);
  t.equal(fd, -1, 'it waits');
  t.equal(await sys.fcntl_testlease(holder), 'F_RDLCK', 'a reader needs no more than that');
  await clock.advance(2_000);
  await opening;
  t.ok(fd >= 0);
  t.equal(await sys.fcntl_testlease(holder), 'F_RDLCK', 'it was downgraded');
  await other.exit();
  await sys.close(holder);
  await end();
});
