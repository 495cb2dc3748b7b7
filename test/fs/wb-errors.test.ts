/** Errors of writing back: each open file hears of them once, and so does who syncs the whole filesystem. */

import t from 'tap';
import { type Fault, faultyDevice } from '../../src/block/faulty-device.js';
import { memoryDevice } from '../../src/block/memory-device.js';
import { add_disk } from '../../src/fs/disks.js';
import { Process, syscalls } from '../../src/fs/syscalls.js';
import { O_CREAT, O_RDWR } from '../../src/uapi/fcntl.js';
import { SYNC_FILE_RANGE_WAIT_AFTER, SYNC_FILE_RANGE_WAIT_BEFORE, SYNC_FILE_RANGE_WRITE } from '../../src/uapi/fs.js';
import { newWorld, outcome } from './world.js';

t.test('every open file is told once', async (t) => {
  let broken = false;
  const world = await newWorld({
    // Data are written in pages of ones, which no metadata are.
    faults: ({ op, length }) => (broken && op === 'write' && length >= 4096 ? { error: 'EIO' } : undefined),
  });
  const process = new Process(world.sb);
  const sys = syscalls(process);
  const [a, b] = [await sys.open('/f', O_CREAT | O_RDWR, 0o644), await sys.open('/f', O_RDWR)];
  const other = await sys.open('/g', O_CREAT | O_RDWR, 0o644);
  await sys.sync();
  await sys.pwrite(a, Buffer.alloc(4096, 1), 0);
  broken = true;
  t.equal(await outcome(() => sys.fsync(a)), 'EIO', 'the one that syncs');
  broken = false;
  t.equal(await outcome(() => sys.fsync(a)), 'ok', 'is told once');
  t.equal(await outcome(() => sys.fsync(b)), 'EIO', 'the other open file as well');
  t.equal(await outcome(() => sys.fsync(b)), 'ok');
  t.equal(await outcome(() => sys.fsync(other)), 'ok', 'another file has no error');
  t.equal(await outcome(() => sys.syncfs(other)), 'EIO', 'but syncfs is about all');
  t.equal(await outcome(() => sys.syncfs(other)), 'ok');
  const late = await sys.open('/f', O_RDWR);
  t.equal(await outcome(() => sys.fsync(late)), 'ok', 'who opens it after somebody was told has missed it');
  for (const fd of [a, b, other, late]) await sys.close(fd);
  await process.exit();
  await world.end();
});

const PAGE = 4096;
const ALL = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;

t.test('sync_file_range tells each open file once, and what it tells is told', async (t) => {
  let broken = false;
  const world = await newWorld({ faults: ({ op }) => (broken && op === 'write' ? { error: 'EIO' } : undefined) });
  const process = new Process(world.sb);
  const sys = syscalls(process);
  const [a, b] = [await sys.open('/f', O_CREAT | O_RDWR, 0o644), await sys.open('/f', O_RDWR)];
  await sys.pwrite(a, Buffer.alloc(PAGE, 1), 0);
  await sys.fsync(a);
  await sys.pwrite(a, Buffer.alloc(PAGE, 2), 0);
  broken = true;
  t.equal(await outcome(() => sys.sync_file_range(a, 2 ** 62, 2 ** 62, ALL)), 'EINVAL', 'beyond all positions');
  t.equal(await outcome(() => sys.sync_file_range(a, 0, 0, ALL)), 'EIO', 'the one that asks');
  broken = false;
  t.equal(await outcome(() => sys.sync_file_range(a, 0, 0, ALL)), 'ok', 'once');
  t.equal(await outcome(() => sys.fsync(a)), 'ok', 'and fsync does not say it again');
  t.equal(
    await outcome(() => sys.sync_file_range(b, 0, 0, SYNC_FILE_RANGE_WRITE)),
    'ok',
    'who does not wait hears nothing',
  );
  t.equal(await outcome(() => sys.sync_file_range(b, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE)), 'EIO', 'the other one');
  t.equal(await outcome(() => sys.fsync(b)), 'ok');
  await process.exit();
  await world.end();
});

t.test('who is told while the whole filesystem is synced is not told again by that', async (t) => {
  let faults: readonly Fault[] = [];
  let writes = 0;
  const world = await newWorld({ faults: ({ op }) => (op === 'write' ? faults[writes++] : undefined) });
  const process = new Process(world.sb);
  const sys = syscalls(process);
  const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
  const far = 64 * PAGE;
  for (const at of [0, far]) await sys.pwrite(fd, Buffer.alloc(PAGE, 1), at);
  await sys.fsync(fd);
  for (const at of [0, far]) await sys.pwrite(fd, Buffer.alloc(PAGE, 2), at);
  writes = 0;
  faults = [{ error: 'EIO', delay: 1 }, { delay: 60 }];
  const syncing = sys.sync();
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.equal(await outcome(() => sys.sync_file_range(fd, 0, PAGE, SYNC_FILE_RANGE_WAIT_BEFORE)), 'EIO');
  await syncing;
  t.equal(await outcome(() => sys.fsync(fd)), 'ok');
  await process.exit();
  await world.end();
});

t.test('syncing fails by itself: the errors of writing back are told with that, and sync(2) cannot fail', async (t) => {
  let broken: 'write' | 'flush' | undefined;
  const world = await newWorld({ faults: ({ op }) => (op === broken ? { error: 'EIO' } : undefined) });
  const process = new Process(world.sb);
  const sys = syscalls(process);
  const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
  await sys.pwrite(fd, Buffer.alloc(PAGE, 1), 0);
  await sys.fsync(fd);
  await sys.pwrite(fd, Buffer.alloc(PAGE, 2), 0);
  broken = 'write';
  await outcome(() => sys.sync_file_range(fd, 0, 0, ALL));
  broken = 'flush';
  t.equal(await outcome(() => sys.sync()), 'ok');
  t.equal(await outcome(() => sys.syncfs(fd)), 'EIO');
  broken = undefined;
  t.equal(await outcome(() => sys.syncfs(fd)), 'ok');
  await process.exit();
  await world.end();
});

t.test('an fsync that fails for another reason has told of the data as well', async (t) => {
  let flush: Fault | undefined;
  let broken = false;
  const world = await newWorld({
    faults: ({ op }) => (op === 'flush' ? flush : op === 'write' && broken ? { error: 'EIO' } : undefined),
  });
  const process = new Process(world.sb);
  const sys = syscalls(process);
  const [a, b] = [await sys.open('/f', O_CREAT | O_RDWR, 0o644), await sys.open('/f', O_RDWR)];
  await sys.pwrite(a, Buffer.alloc(PAGE, 1), 0);
  await sys.fsync(a);
  await sys.pwrite(a, Buffer.alloc(PAGE, 2), 0);
  flush = { error: 'EIO', delay: 60 };
  const failing = outcome(() => sys.fdatasync(a));
  await new Promise((resolve) => setTimeout(resolve, 20));
  await sys.pwrite(b, Buffer.alloc(PAGE, 3), 0);
  broken = true;
  t.equal(await outcome(() => sys.sync_file_range(b, 0, 0, ALL)), 'EIO');
  broken = false;
  t.equal(await failing, 'EIO');
  flush = undefined;
  t.equal(await outcome(() => sys.fdatasync(a)), 'ok');
  await process.exit();
  await world.end();
});

t.test('the node of a disk: each open file is told once of writes that failed', async (t) => {
  let broken = false;
  const world = await newWorld();
  const { sched, validator } = world.machine;
  const policy = ({ op }: { op: string }): Fault | undefined =>
    broken && op === 'write' ? { error: 'EIO' } : undefined;
  const disk = faultyDevice(memoryDevice(2 ** 20, sched, validator), policy, sched, validator);
  const process = new Process(world.sb);
  const sys = syscalls(process);
  await sys.mknod('/disk', 0o060600, add_disk(world.machine, disk));
  const [a, b] = [await sys.open('/disk', O_RDWR), await sys.open('/disk', O_RDWR)];
  await sys.pwrite(a, Buffer.alloc(PAGE, 1), 0);
  broken = true;
  t.equal(await outcome(() => sys.fsync(a)), 'EIO');
  broken = false;
  t.equal(await outcome(() => sys.fsync(a)), 'ok');
  t.equal(await outcome(() => sys.fsync(b)), 'EIO');
  t.equal(await outcome(() => sys.fsync(b)), 'ok');
  await process.exit();
  await world.end();
});
