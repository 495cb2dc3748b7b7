/** The buffer cache against a plain map of blocks, and what becomes of buffers that are locked, in use, a journal's, or not writable. */
import fc from 'fast-check';
import t from 'tap';
import { submit_bio_wait } from '../../src/block/bio.js';
import { BlockDevice } from '../../src/block/block-device.js';
import {
  bforget,
  brelse,
  end_buffer_read_sync,
  get_bh,
  lock_buffer,
  mark_buffer_dirty,
  submit_bh,
  sync_dirty_buffer,
  unlock_buffer,
  wait_on_buffer,
} from '../../src/block/buffer.js';
import {
  invalidate_bdev,
  nr_dirty_buffers,
  sb_bread,
  sb_breadahead,
  sb_find_get_block,
  sb_getblk,
} from '../../src/block/buffer-cache.js';
import { BLOCK_SIZE } from '../../src/block/buffer-head.js';
import { start_writeback, sync_blockdev } from '../../src/block/buffer-writeback.js';
import { type FaultPolicy, faultyDevice } from '../../src/block/faulty-device.js';
import { memoryDevice, SparseMemory } from '../../src/block/memory-device.js';
import type { Driver } from '../../src/block/request-queue.js';
import type { Task } from '../../src/sched/task.js';
import { codeOf, testMachine } from './machine.js';

const BLOCKS = 24;

function device(policy: FaultPolicy = () => undefined): {
  machine: ReturnType<typeof testMachine>;
  bdev: BlockDevice;
  task: Task;
} {
  const machine = testMachine();
  const inner = memoryDevice(BLOCKS * BLOCK_SIZE, machine.sched, machine.validator);
  const bdev = faultyDevice(inner, policy, machine.sched, machine.validator);
  return { machine, bdev, task: machine.task() };
}

async function onDevice(task: Task, bdev: BlockDevice, block: number): Promise<Buffer> {
  const bytes = Buffer.alloc(BLOCK_SIZE);
  const sector = (block * BLOCK_SIZE) / 512;
  await submit_bio_wait(task, bdev, { op: 'read', sector, vecs: [bytes], length: BLOCK_SIZE });
  return bytes;
}

async function put(task: Task, bdev: BlockDevice, block: number, fill: number): Promise<void> {
  const bh = await sb_bread(task, bdev, block);
  bh.b_data.fill(fill);
  mark_buffer_dirty(bh);
  brelse(bh);
}

type Step = {
  op: 'put' | 'get' | 'ahead' | 'forget' | 'sync' | 'writeback' | 'drop' | 'one';
  block: number;
  fill: number;
};

const step: fc.Arbitrary<Step> = fc.record({
  op: fc.constantFrom('put', 'put', 'get', 'ahead', 'forget', 'sync', 'writeback', 'drop', 'one'),
  block: fc.integer({ min: 0, max: BLOCKS - 1 }),
  fill: fc.integer({ min: 1, max: 255 }),
});

t.test('what was put is what is read, whatever leaves memory in between', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), fc.constantFrom(undefined, 0), async (steps, delay) => {
      const { bdev, task, machine } = device(() => (delay === undefined ? undefined : { delay }));
      bdev.buffers.limit = 6;
      const model = new Map<number, number>();
      for (const { op, block, fill } of steps) {
        if (op === 'put') {
          await put(task, bdev, block, fill);
          model.set(block, fill);
        } else if (op === 'get') {
          const bh = await sb_bread(task, bdev, block);
          const right = bh.b_data.equals(Buffer.alloc(BLOCK_SIZE, model.get(block) ?? 0));
          brelse(bh);
          if (!right) return false;
        } else if (op === 'ahead') sb_breadahead(task, bdev, block);
        else if (op === 'sync') {
          await sync_blockdev(task, bdev);
          if (nr_dirty_buffers(bdev) !== 0) return false;
          for (const [known, value] of model) if ((await onDevice(task, bdev, known))[0] !== value) return false;
        } else if (op === 'writeback') start_writeback(task, bdev, 4);
        else if (op === 'drop') invalidate_bdev(bdev);
        else if (op === 'one') {
          const bh = sb_find_get_block(bdev, block);
          if (bh === undefined) continue;
          await sync_dirty_buffer(task, bh);
          brelse(bh);
          if (model.has(block) && (await onDevice(task, bdev, block))[0] !== model.get(block)) return false;
        } else {
          // The block was freed: what it held is of no use, so it is written anew.
          const bh = await sb_bread(task, bdev, block);
          bforget(bh);
          await put(task, bdev, block, fill);
          model.set(block, fill);
        }
      }
      await sync_blockdev(task, bdev);
      await bdev.queue.drain(task);
      const used = bdev.buffers.size;
      return invalidate_bdev(bdev) === 0 && used <= BLOCKS && machine.violations.length === 0;
    }),
    { numRuns: 120 },
  );
  t.end();
});

t.test('buffers in use, locked, or of a journal stay', async (t) => {
  const { bdev, task, machine } = device();
  const used = await sb_bread(task, bdev, 1);
  const locked = await sb_bread(task, bdev, 2);
  const guard = await lock_buffer(machine.task(), locked);
  brelse(locked);
  const journaled = await sb_bread(task, bdev, 3);
  journaled.private = {};
  mark_buffer_dirty(journaled);
  brelse(journaled);
  await put(task, bdev, 4, 9);
  t.equal(invalidate_bdev(bdev), 4);
  await sync_blockdev(task, bdev);
  t.ok(journaled.dirty, "a journal's buffer is written by the journal");
  t.equal((await onDevice(task, bdev, 4))[0], 9);
  guard.release();
  journaled.private = undefined;
  await sync_blockdev(task, bdev);
  brelse(used);
  t.equal(invalidate_bdev(bdev), 0);
  t.equal(locked.b_data.length, 0, 'whoever keeps a buffer that was dropped finds no bytes');
  t.same(machine.kinds(), []);
});

t.test('neighbours go to the device with one request', async (t) => {
  const writes: number[] = [];
  const machine = testMachine();
  const memory = new SparseMemory();
  const driver: Driver = {
    read: (offset, into) => memory.read(offset, into),
    write: (offset, from) => memory.write(offset, from),
    writev: (offset, from) => {
      writes.push(from.length);
      memory.write(offset, Buffer.concat(from));
    },
    discard: (offset, length) => memory.discard(offset, length),
    zero: (offset, length) => memory.zero(offset, length),
    flush: () => undefined,
  };
  const shape = { name: 'counted', size: BLOCKS * BLOCK_SIZE, readOnly: false };
  const bdev = new BlockDevice(shape, driver, {}, machine.sched, machine.validator);
  const task = machine.task();
  for (const block of [9, 3, 4, 5, 10, 11, 20]) await put(task, bdev, block, block);
  await sync_blockdev(task, bdev);
  t.same(writes, [3, 3, 1]);
  t.equal((await onDevice(task, bdev, 5))[0], 5);
  t.same(machine.kinds(), []);
});

t.test('a write that fails is told once to each who syncs, and the bytes are kept', async (t) => {
  let failing = true;
  const { bdev, task, machine } = device(({ op, offset }) =>
    failing && op === 'write' && offset === 5 * BLOCK_SIZE ? { error: 'EIO' } : undefined,
  );
  await put(task, bdev, 5, 7);
  await put(task, bdev, 6, 8);
  t.equal(await codeOf(() => sync_blockdev(task, bdev)), 'EIO');
  t.equal((await onDevice(task, bdev, 6))[0], 8, 'the others are written');
  const bh = await sb_bread(task, bdev, 5);
  t.ok(bh.write_io_error);
  t.equal(bh.b_data[0], 7, 'the bytes in memory are still the right ones');
  t.equal(await codeOf(() => sync_blockdev(task, bdev)), undefined, 'once');
  mark_buffer_dirty(bh);
  t.equal(await codeOf(() => sync_dirty_buffer(task, bh)), 'EIO');
  failing = false;
  mark_buffer_dirty(bh);
  await sync_dirty_buffer(task, bh, true, true);
  t.equal(bh.write_io_error, false);
  t.equal((await onDevice(task, bdev, 5))[0], 7, 'and it recovers');
  brelse(bh);
  t.same(machine.kinds(), []);
});

t.test('a read that fails is an error, and read again the next time', async (t) => {
  let failing = true;
  const { bdev, task, machine } = device(({ op }) =>
    failing && op === 'read' ? { error: 'EIO', delay: 0 } : undefined,
  );
  t.equal(await codeOf(() => sb_bread(task, bdev, 3)), 'EIO');
  sb_breadahead(task, bdev, 3);
  const bh = sb_getblk(task, bdev, 3);
  await wait_on_buffer(task, bh);
  t.equal(bh.uptodate, false, 'readahead fails silently');
  brelse(bh);
  failing = false;
  brelse(await sb_bread(task, bdev, 3));
  t.equal(await codeOf(() => sb_bread(task, bdev, BLOCKS)), 'EIO', 'beyond the end');
  t.equal(await codeOf(() => sb_bread(task, bdev, -1)), 'EIO');
  t.same(machine.kinds(), []);
});

t.test('a read ends before the buffer is unlocked', async (t) => {
  const { bdev, task, machine } = device();
  const bh = sb_getblk(task, bdev, 1);
  await lock_buffer(task, bh);
  submit_bh(task, 'read', bh, (completion, bh, uptodate) => {
    bh.lock.unlock(completion);
    end_buffer_read_sync(completion, bh, uptodate);
  });
  await wait_on_buffer(task, bh);
  t.same(machine.kinds(), ['guarded-state', 'unlock-not-owner']);
  brelse(bh);
});

t.test('mistakes of its users are told', async (t) => {
  const { bdev, task, machine } = device();
  const bh = sb_getblk(task, bdev, 1);
  mark_buffer_dirty(bh);
  t.same(machine.kinds(), ['guarded-state'], 'dirty without its bytes');
  submit_bh(task, 'write', bh, () => undefined);
  t.same(machine.kinds(), ['guarded-state'], 'submitted without its lock');
  brelse(bh);
  brelse(bh);
  t.same(machine.kinds(), ['guarded-state'], 'given back twice');
  unlock_buffer(task, bh);
  t.same(machine.kinds(), ['unlock-not-owner']);
  get_bh(bh);
  await lock_buffer(task, bh);
  submit_bh(task, 'read', bh, (completion, bh) => {
    bh.uptodate = true;
    bh.lock.waitUnlocked(completion).catch(() => undefined);
    bh.lock.unlock(completion);
  });
  t.ok(machine.kinds().includes('sleep-in-atomic'), 'b_end_io may not sleep');
});
