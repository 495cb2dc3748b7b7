/** Copying and remapping ranges of files, against plain buffers. */

import fc from 'fast-check';
import t, { type Test } from 'tap';
import { Process, type Syscalls, syscalls } from '../../src/fs/syscalls.js';
import { O_CREAT, O_RDWR } from '../../src/uapi/fcntl.js';
import { SEEK_DATA, SEEK_HOLE } from '../../src/uapi/fs.js';
import { FIDEDUPERANGE } from '../../src/uapi/ioctl.js';
import { newWorld, opsCalled, outcome, user, type World } from '../fs/world.js';

const K = 1024;
const BLOCK = 4 * K;

async function withSys(t: Test, body: (sys: Syscalls, world: World, process: Process) => Promise<void>): Promise<void> {
  const world = await newWorld();
  const process = new Process(world.sb);
  await body(syscalls(process), world, process);
  await process.exit();
  t.equal(await world.end(), 0);
  t.same(
    world.violations.map(({ message }) => message),
    [],
  );
}

const make = (sys: Syscalls, name: string): Promise<number> => sys.open(name, O_CREAT | O_RDWR, 0o644);

/** One target of FIDEDUPERANGE. @returns bytes deduplicated, and the status */
async function dedupe(
  sys: Syscalls,
  source: number,
  offset: number,
  length: number,
  target: number,
  at: number,
): Promise<[number, number]> {
  const arg = Buffer.alloc(24 + 32);
  arg.writeBigUInt64LE(BigInt(offset), 0);
  arg.writeBigUInt64LE(BigInt(length), 8);
  arg.writeUInt16LE(1, 16);
  arg.writeBigInt64LE(BigInt(target), 24);
  arg.writeBigUInt64LE(BigInt(at), 32);
  const answer = await sys.ioctl(source, FIDEDUPERANGE, arg);
  return [Number(answer.readBigUInt64LE(40)), answer.readInt32LE(48)];
}

t.test('a source that becomes shorter before it is locked', async (t) => {
  await withSys(t, async (sys, world) => {
    const [from, to] = [await make(sys, '/from'), await make(sys, '/to')];
    await sys.pwrite(from, Buffer.alloc(8 * K, 'a'), 0);
    const rwsem = world.sb.inodeHash.get((await sys.fstat(from)).ino)?.i_rwsem;
    const held = await rwsem?.write(world.task());
    const truncated = sys.ftruncate(from, 4 * K);
    const copied = sys.copy_file_range(from, 4 * K, to, 0, 4 * K);
    held?.release();
    await truncated;
    t.equal(await copied, 0);
  });
});

t.test('a copy has the holes of its source', async (t) => {
  await withSys(t, async (sys, world) => {
    const from = await make(sys, '/from');
    await sys.pwrite(from, Buffer.alloc(8 * K, 'a'), 0);
    await sys.pwrite(from, Buffer.alloc(8 * K, 'b'), 512 * K);
    await sys.ftruncate(from, 1024 * K);
    const to = await make(sys, '/to');
    const called = await opsCalled(world, async () => {
      t.equal(await sys.copy_file_range(from, 0, to, 0, 2048 * K), 1024 * K);
    });
    t.ok(called.includes('copy_file_range'));
    t.equal((await sys.fstat(to)).size, 1024 * K);
    t.equal((await sys.fstat(to)).blocks, 32, 'data that is not written yet counts');
    t.equal(await sys.lseek(to, 0, SEEK_HOLE), 8 * K);
    t.equal(await sys.lseek(to, 8 * K, SEEK_DATA), 512 * K);
    t.same(await sys.pread(to, 1024 * K, 0), await sys.pread(from, 1024 * K, 0));
    await sys.fsync(to);
    t.equal((await sys.fstat(to)).blocks, 32);
    await sys.pwrite(to, Buffer.alloc(64 * K, 'c'), 100 * K);
    await sys.fsync(to);
    t.equal(await sys.copy_file_range(from, 64 * K, to, 99 * K, 70 * K), 70 * K, 'a hole over data');
    t.equal((await sys.fstat(to)).blocks, 32, 'frees it');
    t.equal(await sys.copy_file_range(from, 1024 * K, to, 0, 10), 0, 'nothing at the end');
    t.equal(await outcome(() => sys.copy_file_range(to, 0, to, 4 * K, 8 * K)), 'EINVAL', 'into itself');
    t.equal(await sys.copy_file_range(to, 0, to, 2048 * K, 8 * K), 8 * K, 'elsewhere in itself');
    t.same(await sys.pread(to, 8 * K, 2048 * K), Buffer.alloc(8 * K, 'a'));
  });
});

interface Step {
  readonly kind: 'write' | 'cut' | 'copy' | 'sync';
  readonly file: number;
  readonly pos: number;
  readonly to: number;
  readonly length: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom<Step['kind']>('write', 'cut', 'copy', 'copy', 'sync'),
  file: fc.nat({ max: 1 }),
  pos: fc.nat({ max: 60_000 }),
  to: fc.nat({ max: 60_000 }),
  length: fc.integer({ min: 1, max: 30_000 }),
});

t.test('whatever was there before, the bytes are those of the source', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const world = await newWorld({ size: 8 * 2 ** 20 });
      const process = new Process(world.sb);
      const sys = syscalls(process);
      const fds = [await make(sys, '/0'), await make(sys, '/1')];
      const model = [Buffer.alloc(0), Buffer.alloc(0)];
      const put = (file: number, pos: number, bytes: Buffer): void => {
        const old = model[file] ?? Buffer.alloc(0);
        const next = Buffer.alloc(Math.max(old.length, pos + bytes.length));
        old.copy(next);
        bytes.copy(next, pos);
        model[file] = next;
      };
      for (const [i, { kind, file, pos, to, length }] of steps.entries()) {
        const fd = fds[file] ?? -1;
        if (kind === 'write') {
          const bytes = Buffer.alloc(length, 1 + i);
          await sys.pwrite(fd, bytes, pos);
          put(file, pos, bytes);
        } else if (kind === 'cut') {
          await sys.ftruncate(fd, pos);
          const next = Buffer.alloc(pos);
          model[file]?.copy(next);
          model[file] = next;
        } else if (kind === 'sync') await sys.fsync(fd);
        else {
          const bytes = Buffer.from(model[file]?.subarray(pos, pos + length) ?? []);
          t.equal(await sys.copy_file_range(fd, pos, fds[1 - file] ?? -1, to, length), bytes.length);
          if (bytes.length > 0) put(1 - file, to, bytes);
        }
        for (const [at, expected] of model.entries()) {
          if (!(await sys.pread(fds[at] ?? -1, expected.length + 1, 0)).equals(expected)) throw new Error(`after ${i}`);
        }
      }
      await process.exit();
      if ((await world.end()) !== 0 || world.violations.length > 0)
        throw new Error(String(world.violations[0]?.message));
    }),
    { numRuns: 60 },
  );
});

t.test('only what has no blocks can be cloned', async (t) => {
  await withSys(t, async (sys) => {
    const from = await make(sys, '/from');
    await sys.pwrite(from, Buffer.alloc(BLOCK, 'a'), 0);
    await sys.ftruncate(from, 10 * BLOCK + 100);
    const to = await make(sys, '/to');
    await sys.pwrite(to, Buffer.alloc(8 * BLOCK, 'b'), 0);
    await sys.fsync(to);
    const cloned = (pos: number, length: number, at: number): Promise<string> =>
      outcome(() => sys.clone_file_range(from, pos, length, to, at));
    t.equal(await cloned(0, 2 * BLOCK, 0), 'EOPNOTSUPP', 'the source has a block');
    t.equal(await cloned(1, BLOCK, 0), 'EINVAL');
    t.equal(await cloned(BLOCK, BLOCK, 1), 'EINVAL');
    t.equal(await cloned(BLOCK, BLOCK + 1, 0), 'EINVAL', 'a part of a block');
    t.equal(await cloned(11 * BLOCK, BLOCK, 0), 'EINVAL', 'beyond the end');
    t.equal(await cloned(10 * BLOCK, 0, 0), 'EINVAL', 'the end in the middle');
    t.equal((await sys.fstat(to)).blocks, 64, 'nothing has changed so far');
    t.equal(await cloned(BLOCK, 2 * BLOCK, 3 * BLOCK), 'ok');
    t.equal((await sys.fstat(to)).blocks, 48);
    t.equal(await cloned(BLOCK, 0, 7 * BLOCK), 'ok', 'to the end');
    t.equal((await sys.fstat(to)).size, 16 * BLOCK + 100);
    const expected = Buffer.concat([
      Buffer.alloc(3 * BLOCK, 'b'),
      Buffer.alloc(2 * BLOCK),
      Buffer.alloc(2 * BLOCK, 'b'),
    ]);
    t.same(await sys.pread(to, 8 * BLOCK, 0), Buffer.concat([expected, Buffer.alloc(BLOCK)]));
    t.equal(await outcome(() => sys.clone_file_range(from, BLOCK, 2 * BLOCK, from, 2 * BLOCK)), 'EINVAL', 'overlaps');
  });
});

t.test('deduplication compares, and frees zeroes', async (t) => {
  await withSys(t, async (sys, _world, process) => {
    const from = await make(sys, '/from');
    await sys.pwrite(from, Buffer.alloc(BLOCK, 'a'), 0);
    await sys.ftruncate(from, 4 * BLOCK);
    const to = await make(sys, '/to');
    await sys.pwrite(to, Buffer.concat([Buffer.alloc(BLOCK, 'a'), Buffer.alloc(3 * BLOCK)]), 0);
    t.same(await dedupe(sys, from, 0, BLOCK, to, 0), [0, -95], 'the same, but not to be shared');
    t.same(await dedupe(sys, from, BLOCK, BLOCK, to, 0), [0, 1], 'not the same');
    t.equal((await sys.fstat(to)).blocks, 32);
    t.same(await dedupe(sys, from, BLOCK, 3 * BLOCK, to, BLOCK), [3 * BLOCK, 0]);
    t.equal((await sys.fstat(to)).blocks, 8, 'zeroes need no blocks');
    t.same(await sys.pread(to, 4 * BLOCK, 0), await sys.pread(from, 4 * BLOCK, 0));
    t.same(await dedupe(sys, from, BLOCK, BLOCK, to, 9 * BLOCK), [0, -22], 'beyond the end');
    t.same(await dedupe(sys, from, BLOCK, BLOCK, 99, 0), [0, -9]);
    t.equal(await outcome(() => dedupe(sys, from, BLOCK, 9 * BLOCK, to, 0)), 'EINVAL');
    const them = process.fork({ cred: user(1000) });
    t.same(await dedupe(syscalls(them), from, BLOCK, BLOCK, to, 0), [0, 1], 'through a file open for writing');
    const reader = await syscalls(them).open('/to', 0);
    t.same(await dedupe(syscalls(them), from, BLOCK, BLOCK, reader, BLOCK), [0, -1]);
    await them.exit();
  });
});
