/** Nodes of block devices: opened, read, written, asked and mapped. */

import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type BlockDevice, blkdev_get, blkdev_put } from '../../src/block/block-device.js';
import { faultyDevice } from '../../src/block/faulty-device.js';
import { imageDevice } from '../../src/block/image-device.js';
import { memoryDevice, type SparseMemory } from '../../src/block/memory-device.js';
import { add_disk, del_gendisk } from '../../src/fs/disks.js';
import { Process, type Syscalls, syscalls } from '../../src/fs/syscalls.js';
import { PAGE_SIZE } from '../../src/mm/folio.js';
import { PMD_SIZE } from '../../src/mm/unmapped-area.js';
import { O_CREAT, O_DIRECT, O_EXCL, O_RDWR, O_SYNC } from '../../src/uapi/fcntl.js';
import { SYNC_FILE_RANGE_WAIT_AFTER, SYNC_FILE_RANGE_WAIT_BEFORE, SYNC_FILE_RANGE_WRITE } from '../../src/uapi/fs.js';
import { BLKDISCARD, BLKFLSBUF, BLKGETSIZE64, BLKROGET, BLKRRPART, HDIO_GETGEO } from '../../src/uapi/ioctl.js';
import { MAP_SHARED, PROT_READ, PROT_WRITE } from '../../src/uapi/mman.js';
import { newWorld, opsCalled, outcome, type World } from './world.js';

const MIB = 2 ** 20;
const BLK = 0o060000;
const RW = PROT_READ | PROT_WRITE;

interface Plugged {
  readonly world: World;
  readonly disk: BlockDevice;
  readonly number: number;
  readonly process: Process;
  readonly sys: Syscalls;
}

/** A machine with a disk of which there is a node. */
async function plugged(disk?: BlockDevice): Promise<Plugged> {
  const world = await newWorld();
  const { machine, sb } = world;
  const its = disk ?? memoryDevice(8 * MIB, machine.sched, machine.validator);
  const number = add_disk(machine, its);
  const process = new Process(sb);
  const sys = syscalls(process);
  await sys.mknod('/disk', BLK | 0o600, number);
  return { world, disk: its, number, process, sys };
}

async function ended(t: Test, { world, process }: Plugged): Promise<void> {
  await process.exit();
  t.equal(await world.end(), 0);
  t.same(world.violations, []);
}

const text = async (sys: Syscalls, fd: number, length: number, pos: number): Promise<string> =>
  (await sys.pread(fd, length, pos)).toString('latin1');

t.test('a node is as good as its disk', async (t) => {
  const p = await plugged();
  const { sys, world, disk, number } = p;
  await sys.mknod('/nothing', BLK | 0o600, number + 1);
  t.equal(await outcome(() => sys.open('/nothing', O_RDWR)), 'ENXIO');
  await sys.mknod('/tty', 0o020600, number);
  t.equal(await outcome(() => sys.open('/tty', O_RDWR)), 'ENXIO', 'there are no character devices');
  const alone = await sys.open('/disk', O_RDWR | O_EXCL);
  t.equal(await outcome(() => sys.open('/disk', O_RDWR | O_EXCL)), 'EBUSY');
  const shared = await sys.open('/disk', O_RDWR);
  t.equal(disk.openers, 2);
  await sys.close(alone);
  await sys.close(await sys.open('/disk', O_EXCL));
  await sys.close(shared);
  t.equal(disk.openers, 0);
  const { s_bdev: mounted } = world.sb;
  if (mounted === undefined) throw new Error('nothing is mounted');
  await blkdev_get(world.task(), mounted, 'write', world.machine);
  await sys.mknod('/own', BLK | 0o600, add_disk(world.machine, mounted));
  t.equal(await outcome(() => sys.open('/own', O_EXCL)), 'EBUSY', 'a filesystem has its disk for itself');
  const own = await sys.open('/own', 0);
  t.not(await text(sys, own, 16, 1024), '\0'.repeat(16), 'and others may look at it');
  await sys.close(own);
  await blkdev_put(world.task(), mounted, world.machine);
  del_gendisk(world.machine, number);
  t.equal(await outcome(() => sys.open('/disk', 0)), 'ENXIO');
  await ended(t, p);
});

t.test('bytes anywhere, up to the end', async (t) => {
  const p = await plugged();
  const { sys, disk, world } = p;
  const fd = await sys.open('/disk', O_RDWR);
  t.equal(await sys.pwrite(fd, Buffer.alloc(10_000, 'abcd'), 4090), 10_000);
  t.equal(await text(sys, fd, 12, 4084), '\0\0\0\0\0\0abcdab');
  t.equal(await text(sys, fd, 8, 14_086), 'abcd\0\0\0\0');
  t.equal((disk.queue.driver as SparseMemory).storedBytes, 0, 'it is in the buffers');
  await sys.fsync(fd);
  t.equal((disk.queue.driver as SparseMemory).storedBytes, 5 * PAGE_SIZE - PAGE_SIZE, 'and on the disk after fsync');
  t.equal(await sys.lseek(fd, 0, 2), 8 * MIB);
  t.equal((await sys.read(fd, 10)).length, 0);
  t.equal(await outcome(() => sys.write(fd, Buffer.from('x'))), 'ENOSPC');
  t.equal(await sys.pwrite(fd, Buffer.alloc(10, 'z'), 8 * MIB - 4), 4, 'as much as fits');
  t.equal(await sys.lseek(fd, -4, 1), 8 * MIB - 4);
  t.equal((await sys.read(fd, 10)).toString(), 'zzzz');
  for (const [offset, whence] of [
    [1, 2],
    [-1, 0],
    [0, 3],
  ] as const)
    t.equal(await outcome(() => sys.lseek(fd, offset, whence)), 'EINVAL');
  t.equal(await outcome(() => sys.ftruncate(fd, 0)), 'EINVAL');
  const sync = await sys.open('/disk', O_RDWR | O_SYNC);
  const called = await opsCalled(world, () => sys.pwrite(sync, Buffer.from('now'), 3 * MIB));
  t.ok(called.includes('b_end_io'), 'O_SYNC writes at once');
  await ended(t, p);
});

t.test('what is asked of a disk goes to its driver', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'latchfs-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'image');
  writeFileSync(path, Buffer.alloc(MIB, 'i'));
  const scratch = await newWorld();
  const p = await plugged(imageDevice(path, false, scratch.machine.sched, scratch.machine.validator));
  const { sys, world } = p;
  const fd = await sys.open('/disk', O_RDWR);
  const size = async (): Promise<number> =>
    Number((await sys.ioctl(fd, BLKGETSIZE64, Buffer.alloc(8))).readBigUInt64LE());
  t.equal(await size(), MIB);
  truncateSync(path, 3 * MIB);
  t.equal(await size(), MIB, 'it does not know yet');
  t.ok((await opsCalled(world, () => sys.ioctl(fd, BLKRRPART, Buffer.alloc(0)))).includes('unlock_native_capacity'));
  t.equal(await size(), 3 * MIB);
  t.ok((await opsCalled(world, () => sys.ioctl(fd, HDIO_GETGEO, Buffer.alloc(16)))).includes('getgeo'));
  t.equal(await outcome(() => sys.ioctl(fd, 0x9999, Buffer.alloc(0))), 'ENOTTY');
  t.equal(await outcome(() => sys.ioctl32(fd, 0x9999, Buffer.alloc(0))), 'ENOTTY');
  t.equal((await sys.ioctl(fd, BLKROGET, Buffer.alloc(4))).readUInt32LE(), 0);
  t.equal(await outcome(() => sys.mmap(0, PAGE_SIZE, PROT_READ, MAP_SHARED, fd)), 'ENODEV', 'an image has no memory');
  await sys.pwrite(fd, Buffer.from('kept'), 5000);
  await sys.ioctl(fd, BLKFLSBUF, Buffer.alloc(0));
  t.equal(await text(sys, fd, 4, 5000), 'kept');
  await ended(t, p);
  await scratch.end();
});

t.test('a disk is discarded under its buffers, and what is not open for writing is not', async (t) => {
  const p = await plugged();
  const { sys } = p;
  const fd = await sys.open('/disk', O_RDWR);
  await sys.pwrite(fd, Buffer.alloc(8192, 'x'), 0);
  const range = Buffer.alloc(16);
  range.writeBigUInt64LE(4096n, 8);
  await sys.ioctl(fd, BLKDISCARD, range);
  t.equal(await text(sys, fd, 2, 4095), '\0x');
  const reader = await sys.open('/disk', 0);
  t.equal(await outcome(() => sys.ioctl(reader, BLKDISCARD, range)), 'EBADF');
  t.equal(await outcome(() => sys.pwrite(reader, Buffer.from('x'), 0)), 'EBADF');
  await ended(t, p);
});

t.test('a read-only disk', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'latchfs-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'image');
  writeFileSync(path, Buffer.alloc(MIB, 'i'));
  const { machine } = await newWorld();
  const p = await plugged(imageDevice(path, true, machine.sched, machine.validator));
  t.equal(await outcome(() => p.sys.open('/disk', O_RDWR)), 'EACCES');
  t.equal(await text(p.sys, await p.sys.open('/disk', 0), 3, 100), 'iii');
  await ended(t, p);
});

t.test('a range of a disk is written out, and its errors told once to each open file', async (t) => {
  const world = await newWorld();
  const { sched, validator } = world.machine;
  let broken = false;
  const inner = memoryDevice(8 * MIB, sched, validator);
  const written = new Set<number>();
  const disk = faultyDevice(
    inner,
    ({ op, offset, length }) => {
      if (op !== 'write') return undefined;
      for (let at = offset; at < offset + length; at += PAGE_SIZE) written.add(at / PAGE_SIZE);
      return broken ? { error: 'EIO' } : { delay: 1 };
    },
    sched,
    validator,
  );
  const p = await plugged(disk);
  const { sys } = p;
  const fd = await sys.open('/disk', O_RDWR);
  const other = await sys.open('/disk', O_RDWR);
  for (let block = 0; block < 8; block++) await sys.pwrite(fd, Buffer.alloc(PAGE_SIZE, 1), block * PAGE_SIZE);
  t.equal(written.size, 0);
  await sys.sync_file_range(fd, 0, 2 * PAGE_SIZE, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WAIT_AFTER);
  t.equal(written.size, 0, 'nothing was to be written');
  await sys.sync_file_range(fd, 2 * PAGE_SIZE, 2 * PAGE_SIZE, SYNC_FILE_RANGE_WRITE);
  t.ok(written.has(2), 'begun');
  await sys.sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE);
  t.same([...written], [2, 3]);
  await sys.sync_file_range(fd, 6 * PAGE_SIZE, 0, 7);
  t.same([...written].sort(), [2, 3, 6, 7]);
  broken = true;
  t.equal(await outcome(() => sys.sync_file_range(fd, 0, PAGE_SIZE, 7)), 'EIO');
  t.equal(await outcome(() => sys.sync_file_range(fd, 0, PAGE_SIZE, 7)), 'ok', 'once');
  t.equal(await outcome(() => sys.sync_file_range(other, 0, 0, SYNC_FILE_RANGE_WAIT_AFTER)), 'EIO', 'and to the other');
  broken = false;
  await sys.close(fd);
  await sys.close(other);
  await p.process.exit();
  await p.world.end();
  await world.end();
});

t.test('a mapping, the buffers and the disk agree, and its memory comes back', async (t) => {
  const p = await plugged();
  const { sys, disk, process } = p;
  const memory = disk.queue.driver as SparseMemory;
  const fd = await sys.open('/disk', O_RDWR | O_DIRECT);
  await sys.pwrite(fd, Buffer.from('before'), PMD_SIZE);
  const at = await sys.mmap(0, PMD_SIZE, RW, MAP_SHARED, fd, PMD_SIZE);
  t.equal(at % PMD_SIZE, 0);
  t.equal((await sys.load(at, 6)).toString(), 'before', 'what waited in the buffers is written first');
  const huge = await sys.mmap(0, PMD_SIZE, RW, MAP_SHARED, fd, 2 * PMD_SIZE);
  const stored = memory.storedBytes;
  const called = await opsCalled(p.world, () => sys.load(huge, 1));
  t.same(called, ['huge_fault', 'direct_access'], 'one entry for 2 MiB');
  t.equal(memory.storedBytes, stored + PMD_SIZE, 'which are there to be stored to');
  t.equal(await text(sys, fd, 3, 2 * PMD_SIZE), '\0\0\0');
  t.same(await opsCalled(p.world, () => sys.store(huge, Buffer.from('new'))), ['pfn_mkwrite']);
  t.equal(await text(sys, fd, 3, 2 * PMD_SIZE), 'new', 'a read sees the store');
  await sys.pwrite(fd, Buffer.from('N'), 2 * PMD_SIZE);
  t.equal((await sys.load(huge, 3)).toString(), 'New', 'a load sees the write');
  t.equal(disk.direct_users, 2);
  t.same(
    (await opsCalled(p.world, () => sys.munmap(huge + PAGE_SIZE, PAGE_SIZE))).filter((op) => op !== 'direct_access'),
    ['open', 'open', 'close'],
    'it is cut in three, of which one goes',
  );
  t.equal(disk.direct_users, 3);
  const debuggers = new Process(p.world.sb);
  t.equal((await syscalls(debuggers).peek(process, huge, 3)).toString(), 'New');
  await debuggers.exit();
  await sys.munmap(huge, PMD_SIZE);
  t.equal(memory.storedBytes, stored + PMD_SIZE, 'another area has the disk mapped still');
  await sys.munmap(at, PMD_SIZE);
  t.equal(disk.direct_users, 0);
  t.equal(memory.storedBytes, stored + PAGE_SIZE, 'blocks that hold nothing are holes again');
  t.equal(await text(sys, fd, 3, 2 * PMD_SIZE), 'New');
  const unmapped = await sys.mmap(0, PAGE_SIZE, PROT_READ, MAP_SHARED, fd, 8 * MIB);
  t.equal(await outcome(() => sys.load(unmapped, 1)), 'Error: SIGBUS at 0x'.concat(unmapped.toString(16)));
  await sys.close(await sys.open('/file', O_CREAT | O_RDWR, 0o600));
  await ended(t, p);
});
