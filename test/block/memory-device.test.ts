/** The memory device against a plain Buffer, its addresses, and its memory. */
import fc from 'fast-check';
import t from 'tap';
import { submit_bio_wait } from '../../src/block/bio.js';
import { bdev_direct_access, blkdev_getgeo } from '../../src/block/block-device.js';
import { MAX_MEMORY_DEVICE, memoryDevice, SparseMemory } from '../../src/block/memory-device.js';
import { codeOf, testMachine } from './machine.js';

const SECTOR = 512;
const BLOCK = 4096;
const MODEL_SECTORS = 64;

type Step =
  | { op: 'write'; sector: number; count: number; fill: number }
  | { op: 'discard' | 'zero' | 'read'; sector: number; count: number };

const place = {
  sector: fc.integer({ min: 0, max: MODEL_SECTORS - 1 }),
  count: fc.integer({ min: 1, max: 24 }),
};
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ op: fc.constant('write' as const), ...place, fill: fc.integer({ min: 0, max: 3 }) }),
  fc.record({ op: fc.constantFrom('discard' as const, 'zero' as const, 'read' as const), ...place }),
);

function blocksStored(model: Buffer): number {
  let stored = 0;
  for (let at = 0; at < model.length; at += BLOCK)
    if (model.subarray(at, at + BLOCK).some((byte) => byte !== 0)) stored++;
  return stored;
}

t.test('it behaves as a plain buffer, and stores no zeroes', (t) => {
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 40 }),
      fc.constantFrom(0, 2 ** 21 - 8 * BLOCK, 2 ** 40 - 2 ** 15),
      (steps, base) => {
        const memory = new SparseMemory();
        const model = Buffer.alloc(MODEL_SECTORS * SECTOR);
        for (const { op, sector, count, ...more } of steps) {
          const start = sector * SECTOR;
          const end = Math.min(model.length, start + count * SECTOR);
          if (op === 'write') {
            const bytes = Buffer.alloc(end - start, 'fill' in more ? more.fill : 0);
            bytes.copy(model, start);
            memory.write(base + start, bytes);
          } else if (op === 'read') {
            const bytes = Buffer.alloc(end - start, 0xee);
            memory.read(base + start, bytes);
            if (!bytes.equals(model.subarray(start, end))) return false;
          } else {
            model.fill(0, start, end);
            if (op === 'zero') memory.zero(base + start, end - start);
            else memory.discard(base + start, end - start);
          }
        }
        const all = Buffer.alloc(model.length, 0xee);
        memory.read(base, all);
        return all.equals(model) && memory.storedBytes <= (blocksStored(model) + 8) * BLOCK;
      },
    ),
    { numRuns: 300 },
  );
  t.end();
});

t.test('a block is stored only while it holds something', (t) => {
  const memory = new SparseMemory();
  memory.write(5 * BLOCK, Buffer.alloc(BLOCK));
  t.equal(memory.storedBytes, 0, 'zeroes written to a hole store nothing');
  memory.write(5 * BLOCK, Buffer.alloc(BLOCK, 1));
  t.equal(memory.storedBytes, BLOCK);
  memory.write(5 * BLOCK, Buffer.alloc(BLOCK));
  t.equal(memory.storedBytes, 0, 'a whole block of zeroes drops what was there');
  memory.write(5 * BLOCK, Buffer.alloc(SECTOR, 1));
  memory.discard(5 * BLOCK, SECTOR);
  t.equal(memory.storedBytes, 0, 'a block of which nothing is left is dropped');
  memory.write(0, Buffer.alloc(64 * 1024, 1));
  memory.discard(SECTOR, 64 * 1024 - 2 * SECTOR);
  t.equal(memory.storedBytes, 2 * BLOCK, 'the blocks at the ends of a discard stay');
  t.end();
});

t.test('one tebibyte is addressed, and costs what it stores', async (t) => {
  const { sched, validator, task } = testMachine();
  const TIB = 2 ** 40;
  const bdev = memoryDevice(TIB, sched, validator);
  const memory = bdev.queue.driver as SparseMemory;
  const vecs = [Buffer.alloc(BLOCK, 7)];
  for (let i = 0; i < 1024; i++) {
    await submit_bio_wait(task(), bdev, { op: 'write', sector: (i * 2 ** 30) / SECTOR, vecs, length: BLOCK });
  }
  await submit_bio_wait(task(), bdev, { op: 'write', sector: (TIB - BLOCK) / SECTOR, vecs, length: BLOCK });
  t.equal(memory.storedBytes, 1025 * BLOCK);
  t.ok(memory.allocatedBytes <= 3 * 2 ** 21, `slabs of ${memory.allocatedBytes} bytes`);
  const got = Buffer.alloc(BLOCK);
  await submit_bio_wait(task(), bdev, { op: 'read', sector: (TIB - BLOCK) / SECTOR, vecs: [got], length: BLOCK });
  t.ok(got.equals(vecs[0] ?? got));
  const beyond = { op: 'read' as const, sector: TIB / SECTOR, vecs: [got], length: BLOCK };
  t.equal(await codeOf(() => submit_bio_wait(task(), bdev, beyond)), 'EIO');
  await submit_bio_wait(task(), bdev, { op: 'discard', sector: 0, vecs: [], length: TIB });
  t.equal(memory.storedBytes, 0, 'a discard of everything');
  t.equal(memory.allocatedBytes, 0);
  t.equal(await codeOf(() => memoryDevice(MAX_MEMORY_DEVICE + BLOCK, sched, validator)), 'EFBIG');
});

t.test('direct access gives the stored bytes themselves', async (t) => {
  const { sched, validator, task, kinds } = testMachine();
  const bdev = memoryDevice(2 ** 20, sched, validator);
  const direct = await bdev_direct_access(task(), bdev, 8);
  direct.fill(9);
  const got = Buffer.alloc(BLOCK);
  await submit_bio_wait(task(), bdev, { op: 'read', sector: 8, vecs: [got], length: BLOCK });
  t.ok(got.equals(Buffer.alloc(BLOCK, 9)), 'a change is seen by reads');
  t.equal(await codeOf(() => bdev_direct_access(task(), bdev, 1)), 'EINVAL');
  t.equal(await codeOf(() => bdev_direct_access(task(), bdev, 2048)), 'ERANGE');
  t.equal((await blkdev_getgeo(task(), bdev)).heads, 64);
  t.same(kinds(), []);
  const holder = task();
  const mutex = await bdev.open_mutex.lock(holder);
  await bdev_direct_access(holder, bdev, 8);
  mutex.release();
  t.same(kinds(), ['lock-held'], 'the document says: not under open_mutex');
});
