/** FITRIM: what is free is discarded, and nothing else. */

import t from 'tap';
import { SB_RDONLY } from '../../src/fs/super-block.js';
import { Process, type Syscalls, syscalls } from '../../src/fs/syscalls.js';
import { infoOf } from '../../src/latch/info.js';
import { mkfs } from '../../src/latch/mkfs.js';
import { O_CREAT, O_DIRECTORY, O_RDWR } from '../../src/uapi/fcntl.js';
import { FITRIM, FS_IOC_SHUTDOWN } from '../../src/uapi/ioctl.js';
import { outcome, user } from '../fs/world.js';
import { machine } from './journal/crash-device.js';
import { numbers, problemsOf, World } from './world.js';

const MIB = 1 << 20;
const ALL = 2n ** 64n - 1n;

interface Mounted {
  readonly world: World;
  readonly process: Process;
  readonly sys: Syscalls;
  readonly root: number;
}

/** A filesystem on a device that was full of something. */
async function mounted(bytes = 8 * MIB): Promise<Mounted> {
  const m = machine(Buffer.alloc(bytes, 'STALE'));
  await mkfs(m.task(), m.bdev, {});
  const world = await World.mount(m.driver.now);
  const process = new Process(world.sb);
  const sys = syscalls(process);
  return { world, process, sys, root: await sys.open('/', O_DIRECTORY) };
}

async function unmounted({ world, process }: Mounted): Promise<void> {
  await process.exit();
  t.equal(await world.unmount(), 0);
  t.same(await problemsOf(world.driver.now), []);
}

async function trim({ sys, root }: Pick<Mounted, 'sys' | 'root'>, start = 0n, len = ALL, minlen = 0n): Promise<number> {
  const range = Buffer.alloc(24);
  for (const [i, value] of [start, len, minlen].entries()) range.writeBigUInt64LE(BigInt.asUintN(64, value), i * 8);
  const answer = await sys.ioctl(root, FITRIM, range);
  return Number(Buffer.from(answer).readBigUInt64LE(8));
}

const free = ({ world }: Mounted): number => infoOf(world.sb).super.freeBlocks * 4096;

/** Blocks of the device that hold what nobody has written since it was made. */
function stale(image: Buffer): number {
  let count = 0;
  const old = Buffer.alloc(image.length, 'STALE');
  for (let at = 0; at < image.length; at += 4096) {
    if (image.subarray(at, at + 4096).equals(old.subarray(at, at + 4096))) count++;
  }
  return count;
}

t.test('all that is free is discarded, once', async (t) => {
  const m = await mounted();
  const { world, sys } = m;
  await world.create('/a');
  await world.write('/a', 0, Buffer.alloc(300_000, 'a'));
  await world.create('/b');
  await world.write('/b', 0, Buffer.alloc(500_000, 'b'));
  await world.sync();
  t.ok(stale(world.driver.now) > 100);
  const before = free(m);
  t.equal(await trim(m), before, 'says how much it was');
  const left = stale(world.driver.now);
  const info = infoOf(world.sb);
  t.ok(left <= info.super.journalLength, `what is left is of the log: ${left}`);
  t.equal(await trim(m), 0, 'nothing was freed since');
  await world.unlink('/b');
  await world.sync();
  t.equal(await trim(m, 0n, ALL, BigInt(8 * MIB)), 0, 'not in so long a run');
  t.ok((await trim(m)) >= 500_000);
  t.ok((await world.read('/a')).equals(Buffer.alloc(300_000, 'a')));
  const fd = await sys.open('/a', O_RDWR);
  await sys.close(fd);
  await unmounted(m);
});

t.test('a part of the device, and runs of a length', async (t) => {
  const m = await mounted();
  const { world } = m;
  const half = 4 * MIB;
  const first = await trim(m, 0n, BigInt(half));
  t.ok(first > 0 && first < half);
  t.ok(world.driver.now.subarray(half + 65536).includes('STALESTALE'), 'the rest is as it was');
  t.equal(await trim(m, BigInt(half)), free(m) - first);
  t.equal(await trim(m, BigInt(half), 4096n), 4096, 'a part may be asked for again');
  await unmounted(m);
  const n = await mounted();
  // Every other block in use.
  for (let i = 0; i < 20; i++) {
    await n.world.create(`/f${i}`);
    await n.world.write(`/f${i}`, 0, Buffer.alloc(4096, 'x'));
    await n.world.fsync(`/f${i}`);
  }
  for (let i = 0; i < 20; i += 2) await n.world.unlink(`/f${i}`);
  await n.world.sync();
  const long = await trim(n, 0n, ALL, 65536n);
  const rest = await trim(n);
  t.ok(long > 0 && rest > long, 'with a smaller minlen it begins anew');
  t.equal(rest, free(n));
  await unmounted(n);
});

t.test('who may not, what cannot, and what makes no sense', async (t) => {
  const m = await mounted();
  const own = new Process(m.world.sb, { cred: user(7) });
  const sys = syscalls(own);
  const root = await sys.open('/', O_DIRECTORY);
  t.equal(await outcome(() => trim({ sys, root })), 'EPERM');
  await own.exit();
  for (const [start, len, minlen] of [
    [0n, 100n, 0n],
    [1n << 40n, ALL, 0n],
    [0n, ALL, 1n << 40n],
  ] as const) {
    t.equal(await outcome(() => trim(m, start, len, minlen)), 'EINVAL');
  }
  t.equal(await outcome(() => m.sys.ioctl(m.root, FITRIM, Buffer.alloc(8))), 'EFAULT');
  const { driver } = m.world.bdev.queue;
  Object.defineProperty(driver, 'discard_granularity', { value: 0, configurable: true });
  t.equal(await outcome(() => trim(m)), 'EOPNOTSUPP');
  Object.defineProperty(driver, 'discard_granularity', { value: 1 << 28 });
  t.equal(await trim(m), 0, 'no run is that long');
  const image = m.world.driver.now;
  await unmounted(m);
  const world = await World.mount(image, SB_RDONLY, true);
  const process = new Process(world.sb);
  const reader = syscalls(process);
  const top = await reader.open('/', O_DIRECTORY);
  t.equal(await outcome(() => trim({ sys: reader, root: top })), 'EROFS');
  await process.exit();
  await world.unmount();
});

t.test('what a crash may bring back is left alone, and what is written meanwhile', async (t) => {
  const m = await mounted();
  const { world, sys } = m;
  const content = Buffer.alloc(400_000, 'kept');
  await world.create('/kept');
  await world.write('/kept', 0, content);
  await world.sync();
  await world.unlink('/kept');
  // A discard takes long, and what is written to blocks that were taken meanwhile does not.
  const { driver } = world;
  const discard = driver.discard.bind(driver);
  driver.discard = async (offset, length) => {
    for (let i = 0; i < 500; i++) await undefined;
    return discard(offset, length);
  };
  const fd = await sys.open('/new', O_CREAT | O_RDWR, 0o644);
  const writing = (async () => {
    for (let i = 0; i < 15; i++) {
      await sys.pwrite(fd, Buffer.alloc(16384, i + 1), i * 16384);
      await sys.fdatasync(fd);
    }
  })();
  const start = world.driver.events.length;
  const trimming = trim(m);
  await Promise.all([writing, trimming]);
  const end = world.driver.events.length;
  for (let i = 0; i < 15; i++) t.ok((await sys.pread(fd, 16384, i * 16384)).equals(Buffer.alloc(16384, i + 1)));
  await sys.fadvise(fd, 0, 0, 4);
  for (let i = 0; i < 15; i++) t.ok((await sys.pread(fd, 16384, i * 16384)).equals(Buffer.alloc(16384, i + 1)));
  let kept = 0;
  for (let cut = start; cut <= end; cut += 4) {
    const again = await World.mount(world.driver.crash(cut, numbers(cut)));
    if ((await again.list('/')).includes('kept')) {
      kept++;
      t.ok((await again.read('/kept')).equals(content), `cut ${cut}`);
    }
    await again.unmount();
    t.same(await problemsOf(again.driver.now), []);
  }
  t.ok(kept > 0);
  await unmounted(m);
});

t.test('it ends where the filesystem is shut down', async (t) => {
  const m = await mounted(40 * MIB);
  const { driver } = m.world;
  const discard = driver.discard.bind(driver);
  let discards = 0;
  driver.discard = (offset, length) => {
    discards++;
    return discard(offset, length);
  };
  driver.delay = () => 5;
  const trimming = outcome(() => trim(m));
  t.equal(await outcome(() => m.sys.ioctl(m.root, FS_IOC_SHUTDOWN, Buffer.from([2, 0, 0, 0]))), 'ok');
  t.equal(await trimming, 'EIO');
  t.ok(discards < 3, `of five discards there were ${discards}`);
  await unmounted(m);
});

t.test('a fatal signal ends it', async (t) => {
  const m = await mounted(40 * MIB);
  m.world.driver.delay = () => 5;
  const trimming = outcome(() => trim(m));
  m.process.signal('SIGUSR1');
  m.process.signal('SIGKILL');
  t.equal(await trimming, 'EINTR');
  await unmounted(m);
});
