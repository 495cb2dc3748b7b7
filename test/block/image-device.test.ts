/** Devices in files: the lock, holes, short files, growth, and every way in which a path is no image. */

import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import {
  type Bio,
  blkdev_issue_discard,
  blkdev_issue_flush,
  blkdev_issue_zeroout,
  submit_bio_wait,
} from '../../src/block/bio.js';
import {
  BlockDevice,
  blkdev_get,
  blkdev_getgeo,
  blkdev_put,
  disk_unlock_native_capacity,
} from '../../src/block/block-device.js';
import { imageDevice } from '../../src/block/image-device.js';
import { ImageFile } from '../../src/block/image-file.js';
import { blkdev_ioctl, compat_blkdev_ioctl } from '../../src/block/ioctl.js';
import { MEMORY_GET_STAT, memoryDevice } from '../../src/block/memory-device.js';
import { userCred } from '../../src/sched/task.js';
import {
  BLKDISCARD,
  BLKFLSBUF,
  BLKGETSIZE,
  BLKGETSIZE64,
  BLKGETSIZE64_32,
  BLKROGET,
  BLKRRPART,
  BLKSSZGET,
  BLKZEROOUT,
  HDIO_GETGEO,
  LOOP_GET_STATUS64,
} from '../../src/uapi/ioctl.js';
import { codeOf, testMachine } from './machine.js';

const MIB = 2 ** 20;
const dir = mkdtempSync(join(tmpdir(), 'latchfs-image-'));
t.teardown(() => rmSync(dir, { recursive: true, force: true }));
const { sched, validator, task, kinds } = testMachine();
let made = 0;

function image(bytes = MIB, readOnly = false): { path: string; bdev: BlockDevice } {
  const path = join(dir, `image${made++}`);
  writeFileSync(path, '');
  truncateSync(path, bytes);
  return { path, bdev: imageDevice(path, readOnly, sched, validator, { patience: 50 }) };
}

const NOTHING = Buffer.alloc(0);

t.test('it behaves as a plain buffer, in the file as well', async (t) => {
  const { path, bdev } = image(64 * 512);
  const model = Buffer.alloc(64 * 512);
  const step = fc.record({
    op: fc.constantFrom('write', 'write', 'read', 'discard', 'zero'),
    sector: fc.integer({ min: 0, max: 63 }),
    count: fc.integer({ min: 1, max: 24 }),
    parts: fc.integer({ min: 1, max: 3 }),
    fill: fc.integer({ min: 0, max: 255 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      for (const { op, sector, count, parts, fill } of steps) {
        const sectors = Math.min(count, 64 - sector);
        const length = sectors * 512;
        if (op === 'discard') await blkdev_issue_discard(task(), bdev, sector, length);
        else if (op === 'zero') await blkdev_issue_zeroout(task(), bdev, sector, length);
        else {
          const bytes = Buffer.alloc(length, fill);
          const cut = Math.ceil(sectors / parts) * 512;
          const vecs: Buffer[] = [];
          for (let at = 0; at < length; at += cut) vecs.push(bytes.subarray(at, at + cut));
          await submit_bio_wait(task(), bdev, { op: op === 'write' ? 'write' : 'read', sector, vecs, length });
          if (op === 'write') bytes.copy(model, sector * 512);
          else if (!bytes.equals(model.subarray(sector * 512, sector * 512 + length))) return false;
          continue;
        }
        model.fill(0, sector * 512, sector * 512 + length);
      }
      return readFileSync(path).equals(model);
    }),
    { numRuns: 60 },
  );
  await blkdev_issue_flush(task(), bdev);
  t.same(kinds(), []);
});

t.test('a discard punches a hole, and FUA and flushes reach the file', async (t) => {
  const { path, bdev } = image(4 * MIB);
  const bytes = Buffer.alloc(4 * MIB, 1);
  await submit_bio_wait(task(), bdev, { op: 'write', sector: 0, vecs: [bytes], length: bytes.length, fua: true });
  const full = statSync(path).blocks;
  await blkdev_issue_discard(task(), bdev, MIB / 512, 2 * MIB);
  t.ok(statSync(path).blocks <= full - 2048 * 2 * 0.9, 'half of the blocks are gone');
  t.equal(statSync(path).size, 4 * MIB, 'the size stays');
  const flushes = [1, 2, 3].map(() => blkdev_issue_flush(task(), bdev));
  await Promise.all(flushes);
  t.same(kinds(), []);
});

t.test('only one may have it', async (t) => {
  const { path, bdev } = image();
  const holder = {};
  await blkdev_get(task(), bdev, 'write', holder);
  t.equal(await codeOf(() => blkdev_get(task(), bdev, 'write', {})), 'EBUSY', 'within this process');
  await blkdev_get(task(), bdev, 'read', holder);
  const second = imageDevice(path, false, sched, validator, { patience: 50 });
  t.match(await codeOf(() => blkdev_get(task(), second, 'write')), /in use/, 'nor another device');
  await blkdev_put(task(), bdev, holder);
  const third = imageDevice(path, false, sched, validator, { patience: 50 });
  t.match(await codeOf(() => blkdev_get(task(), third, 'write')), /in use/, 'while it is open');
  await blkdev_put(task(), bdev, holder);
  const fourth = imageDevice(path, false, sched, validator, { patience: 50 });
  await blkdev_get(task(), fourth, 'write');
  await blkdev_put(task(), fourth);
  t.equal(await codeOf(() => blkdev_put(task(), fourth)), 'EINVAL', 'closed more often than opened');
  t.same(kinds(), []);
});

t.test('another process that has it locked is named, and waited for a while', async (t) => {
  const { path, bdev } = image();
  const locker = spawn('flock', ['-x', path, 'sleep', '30'], { stdio: 'ignore', detached: true });
  try {
    for (let i = 0; i < 100; i++) {
      try {
        execFileSync('flock', ['-n', path, 'true'], { stdio: 'ignore' });
        await new Promise((resolve) => setTimeout(resolve, 20));
      } catch {
        break;
      }
    }
    t.match(await codeOf(() => blkdev_get(task(), bdev, 'write')), new RegExp(`${path} is in use by process \\d+`));
  } finally {
    if (locker.pid !== undefined) process.kill(-locker.pid, 'SIGKILL');
  }
  const patient = imageDevice(path, false, sched, validator, { patience: 10_000 });
  await blkdev_get(task(), patient, 'write');
  await blkdev_put(task(), patient);
  t.same(kinds(), []);
});

/** A loop device, which is a block device as any other; undefined where it cannot be had. */
function loopDevice(bytes: number): string | undefined {
  const path = join(dir, `image${made++}`);
  writeFileSync(path, '');
  truncateSync(path, bytes);
  try {
    return execFileSync('losetup', ['-f', '--show', path], { stdio: ['ignore', 'pipe', 'ignore'] })
      .toString()
      .trim();
  } catch {
    return undefined;
  }
}

const loop = loopDevice(4 * MIB);
const noLoop = loop === undefined ? 'there is no loop device to be had' : false;

t.test('a block device is had alone, whatever its node is called', { skip: noLoop }, async (t) => {
  if (loop === undefined) return;
  try {
    const node = join(dir, 'node');
    execFileSync('mknod', [node, 'b', '7', loop.replace('/dev/loop', '')]);
    const open = (path: string): BlockDevice => imageDevice(path, false, sched, validator, { patience: 50 });
    const bdev = open(loop);
    await blkdev_get(task(), bdev, 'write');
    t.equal(bdev.size, 4 * MIB);
    t.match(await codeOf(() => blkdev_get(task(), open(node), 'write')), /node is in use/, 'by another name');
    t.match(await codeOf(() => blkdev_get(task(), open(loop), 'write')), /is in use by process/, 'by the same');
    t.throws(() => openSync(node, constants.O_RDONLY | constants.O_EXCL), { code: 'EBUSY' }, 'nor has the kernel it');
    const bytes = Buffer.alloc(3 * 4096, 'x');
    const whole = { sector: 0, vecs: [bytes], length: bytes.length };
    await submit_bio_wait(task(), bdev, { op: 'write', ...whole, fua: true });
    await blkdev_issue_discard(task(), bdev, 0, 4096);
    await blkdev_issue_zeroout(task(), bdev, 9, 512);
    await submit_bio_wait(task(), bdev, { op: 'read', ...whole });
    const expected = Buffer.alloc(bytes.length, 'x').fill(0, 0, 4096).fill(0, 4608, 5120);
    t.equal(bytes.compare(expected), 0);
    await blkdev_put(task(), bdev);
    const again = open(node);
    await blkdev_get(task(), again, 'write');
    await blkdev_put(task(), again);
    const others = openSync(loop, constants.O_RDONLY | constants.O_EXCL);
    t.match(await codeOf(() => blkdev_get(task(), open(loop), 'write')), /in use, under this name or another/);
    closeSync(others);
    execFileSync('mkfs.ext4', ['-q', loop]);
    const dirOfIt = join(dir, 'mounted');
    mkdirSync(dirOfIt);
    execFileSync('mount', ['-t', 'ext4', loop, dirOfIt]);
    try {
      const remedy = new RegExp(`is mounted on ${dirOfIt}; run: umount ${dirOfIt}$`);
      t.match(await codeOf(() => blkdev_get(task(), open(loop), 'write')), remedy);
    } finally {
      execFileSync('umount', [dirOfIt]);
    }
  } finally {
    execFileSync('losetup', ['-d', loop]);
  }
  t.same(kinds(), []);
});

t.test('a file that has grown shows it when asked', async (t) => {
  const { path, bdev } = image();
  truncateSync(path, 2 * MIB + 100);
  const beyond = { op: 'read' as const, sector: (2 * MIB) / 512 - 1, vecs: [Buffer.alloc(512)], length: 512 };
  t.equal(await codeOf(() => submit_bio_wait(task(), bdev, beyond)), 'EIO');
  await disk_unlock_native_capacity(task(), bdev);
  t.equal(bdev.size, 2 * MIB, 'whole sectors');
  await submit_bio_wait(task(), bdev, beyond);
  const bytes = Buffer.alloc(512, 1);
  await submit_bio_wait(task(), bdev, { op: 'write', sector: 0, vecs: [bytes], length: bytes.length });
  await blkdev_issue_flush(task(), bdev);
  t.same(kinds(), []);
});

const sectors = (at: number, count: number): Pick<Bio, 'sector' | 'vecs' | 'length'> => ({
  sector: at / 512,
  vecs: Array.from({ length: count }, () => Buffer.alloc(512, 1)),
  length: count * 512,
});

// Each is the first that touches the file after it was cut off in the middle.
for (const [what, request] of [
  ['a read across the cut', { op: 'read', ...sectors(MIB / 2 - 512, 1), length: 1024, vecs: [Buffer.alloc(1024)] }],
  ['a read of many pieces', { op: 'read', ...sectors(MIB - 1024, 2) }],
  ['a write', { op: 'write', ...sectors(0, 1) }],
  ['a write of many pieces', { op: 'write', ...sectors(0, 2) }],
  ['a discard', { op: 'discard', ...sectors(0, 8), vecs: [] }],
  ['zeroing', { op: 'write_zeroes', ...sectors(MIB / 2, 8), vecs: [] }],
  ['a flush', { op: 'flush', sector: 0, vecs: [], length: 0 }],
] as const) {
  t.test(`a file that was cut off is gone as soon as ${what} shows it`, async (t) => {
    const { path, bdev } = image();
    const told: string[] = [];
    bdev.holder_ops = { mark_dead: ({ message }) => told.push(message) };
    const code = (bio: Omit<Bio, 'end_io'>): Promise<string | undefined> =>
      codeOf(() => submit_bio_wait(task(), bdev, bio));
    truncateSync(path, MIB / 2);
    t.equal(await code(request), 'EIO');
    t.same(told, [`EIO: the image was cut off at byte ${MIB / 2} of ${MIB}`], 'its holder is told');
    truncateSync(path, MIB);
    t.equal(await code({ op: 'read', ...sectors(MIB / 2, 1) }), 'EIO', 'what was lost is not read as zeroes');
    t.equal(await code({ op: 'write', ...sectors(0, 1) }), 'EIO');
    t.equal(await code({ op: 'flush', sector: 0, vecs: [], length: 0 }), 'EIO');
    t.equal(told.length, 1, 'once');
    t.same(kinds(), []);
  });
}

t.test('a file that is cut off between two writes does not become as long as before unnoticed', async (t) => {
  const { path, bdev } = image();
  const told: string[] = [];
  bdev.holder_ops = { mark_dead: ({ message }) => told.push(message) };
  await submit_bio_wait(task(), bdev, { op: 'write', ...sectors(0, 1) });
  truncateSync(path, MIB / 2);
  t.equal(await codeOf(() => submit_bio_wait(task(), bdev, { op: 'write', ...sectors(MIB - 512, 1) })), 'EIO');
  t.equal(told.length, 1);
});

t.test('a file that is cut off between two writes is gone with the next flush', async (t) => {
  const { path, bdev } = image();
  await submit_bio_wait(task(), bdev, { op: 'write', ...sectors(0, 1) });
  truncateSync(path, MIB / 4);
  await submit_bio_wait(task(), bdev, { op: 'write', ...sectors(MIB / 2, 1) });
  t.equal(await codeOf(() => blkdev_issue_flush(task(), bdev)), 'EIO');
  t.equal(await codeOf(() => submit_bio_wait(task(), bdev, { op: 'read', ...sectors(MIB / 4, 1) })), 'EIO');
});

t.test('after a flush that has failed none succeeds: the host tells only once', async (t) => {
  const { path } = image();
  // A device of characters cannot be synced.
  const file = new ImageFile(openSync('/dev/null', constants.O_RDWR), undefined);
  const told: string[] = [];
  file.gone = ({ code }) => told.push(code);
  t.equal(await codeOf(() => file.flush()), 'EINVAL');
  file.through(openSync(path, constants.O_RDWR));
  t.equal(await codeOf(() => file.flush()), 'EINVAL');
  t.same(told, ['EINVAL'], 'and who has it is told');
  const bytes = Buffer.alloc(512);
  file.read(0, bytes);
});

t.test('what is no image', async (t) => {
  const open = (path: string, readOnly = false): string => {
    try {
      imageDevice(path, readOnly, sched, validator);
      return 'opened';
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  };
  t.match(open(join(dir, 'missing')), /there is no such image; make one with/);
  t.match(open(dir), /is a directory/);
  t.match(open(dir, true), /is a directory/);
  t.match(open('/dev/null'), /neither a file nor a block device/);
  const pipe = join(dir, 'pipe');
  execFileSync('mkfifo', [pipe]);
  // Merely opening it would wait for who writes into it.
  t.match(open(pipe, true), /neither a file nor a block device/);
  const { path } = image();
  t.match(open(join(path, 'below')), /not a directory/);
  mkdirSync(join(dir, 'closed'));
  chmodSync(path, 0o400);
  if (process.getuid?.() !== 0) t.match(open(path), /no permission to write it/);
  t.equal(open(path, true), 'opened');
});

t.test('ioctl and compat_ioctl', async (t) => {
  const { path, bdev } = image(4 * MIB);
  const root = task();
  const call = async (cmd: number, arg = NOTHING): Promise<Buffer> => await blkdev_ioctl(root, bdev, 'write', cmd, arg);
  t.equal((await call(BLKGETSIZE64)).readBigUInt64LE(), BigInt(4 * MIB));
  t.equal((await call(BLKGETSIZE)).readBigUInt64LE(), 8192n);
  t.equal((await compat_blkdev_ioctl(root, bdev, 'write', BLKGETSIZE, NOTHING)).length, 4, 'a long of 32 bits');
  const size32 = await compat_blkdev_ioctl(root, bdev, 'write', BLKGETSIZE64_32, NOTHING);
  t.equal(size32.readBigUInt64LE(), BigInt(4 * MIB));
  t.equal((await call(BLKSSZGET)).readUInt32LE(), 512);
  t.equal((await call(BLKROGET)).readUInt32LE(), 0);
  t.same([...(await call(HDIO_GETGEO))].slice(0, 4), [64, 32, 4, 0]);
  t.equal((await blkdev_getgeo(root, bdev)).cylinders, 4);
  const status = await call(LOOP_GET_STATUS64);
  t.equal(status.readBigUInt64LE(8), BigInt(statSync(path).ino));
  t.equal(status.toString('latin1', 56, 56 + path.length), path.slice(0, 63));
  t.equal((await compat_blkdev_ioctl(root, bdev, 'write', LOOP_GET_STATUS64, NOTHING)).length, 232);
  const range = Buffer.alloc(16);
  range.writeBigUInt64LE(BigInt(MIB), 8);
  const bytes = Buffer.alloc(2 * MIB, 5);
  await submit_bio_wait(root, bdev, { op: 'write', sector: 0, vecs: [bytes], length: bytes.length });
  await call(BLKDISCARD, range);
  t.equal(readFileSync(path)[MIB - 1], 0);
  t.equal(readFileSync(path)[MIB], 5);
  await call(BLKZEROOUT, range);
  range.writeBigUInt64LE(100n, 0);
  t.equal(await codeOf(() => call(BLKZEROOUT, range)), 'EINVAL');
  t.equal(await codeOf(() => call(BLKZEROOUT, NOTHING)), 'EFAULT');
  for (const cmd of [BLKDISCARD, BLKZEROOUT])
    t.equal(await codeOf(() => call(cmd, Buffer.alloc(16))), 'EINVAL', 'nothing is no range');
  t.equal(await codeOf(() => blkdev_ioctl(root, bdev, 'read', BLKDISCARD, range)), 'EBADF');
  const driver = { discard_granularity: 0, read() {}, write() {}, discard() {}, zero() {}, flush() {} };
  const old = new BlockDevice({ name: 'old', size: MIB, readOnly: false }, driver, {}, sched, validator);
  range.writeBigUInt64LE(0n, 0);
  t.equal(await codeOf(() => blkdev_ioctl(root, old, 'write', BLKDISCARD, range)), 'EOPNOTSUPP');
  t.equal(await codeOf(() => blkdev_ioctl(root, old, 'write', BLKZEROOUT, range)), undefined);
  t.equal(await codeOf(() => call(0x1234)), 'ENOTTY');
  await call(BLKFLSBUF);
  truncateSync(path, 5 * MIB);
  await call(BLKRRPART);
  t.equal(bdev.size, 5 * MIB);
  const user = task({ cred: userCred(1000, 1000) });
  t.equal(await codeOf(() => blkdev_ioctl(user, bdev, 'write', BLKFLSBUF, NOTHING)), 'EACCES');
  const memory = memoryDevice(16 * 2 ** 40, sched, validator);
  t.equal((await blkdev_ioctl(root, memory, 'read', MEMORY_GET_STAT, NOTHING)).readBigUInt64LE(), 0n);
  t.equal((await compat_blkdev_ioctl(root, memory, 'read', MEMORY_GET_STAT, NOTHING)).length, 16);
  t.equal(await codeOf(() => compat_blkdev_ioctl(root, memory, 'read', BLKGETSIZE, NOTHING)), 'EFBIG');
  t.same(kinds(), []);
  const holder = task();
  const mutex = await bdev.open_mutex.lock(holder);
  await blkdev_ioctl(holder, bdev, 'read', LOOP_GET_STATUS64, NOTHING);
  mutex.release();
  t.same(kinds(), ['lock-held'], 'not under open_mutex');
});
