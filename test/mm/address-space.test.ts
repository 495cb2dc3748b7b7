/**
 * The page cache against a plain byte array: writes, reads, truncation, holes, writeback, invalidation and reclaim in any order,
 * with I/O that completes whenever it likes.
 */
import fc from 'fast-check';
import t from 'tap';
import { Bdi } from '../../src/mm/backing-dev.js';
import { filemap_read } from '../../src/mm/filemap-read.js';
import { filemap_flush, filemap_write_and_wait_range } from '../../src/mm/filemap-wait.js';
import { PAGE_SIZE } from '../../src/mm/folio.js';
import { invalidate_inode_pages2_range, invalidate_mapping_pages } from '../../src/mm/invalidate.js';
import { IovIter } from '../../src/mm/iov-iter.js';
import { truncate_inode_pages_final } from '../../src/mm/truncate.js';
import { isErrno } from '../../src/sched/errno.js';
import { FakeFile, hops, settle, World } from './fake-file.js';

const MAX = 130 * PAGE_SIZE;
const pos = fc.oneof(
  fc.integer({ min: 0, max: MAX - 1 }),
  fc.integer({ min: 0, max: 129 }).map((page) => page * PAGE_SIZE),
);
const length = fc.oneof(fc.integer({ min: 1, max: 3 * PAGE_SIZE }), fc.integer({ min: 1, max: 22 * PAGE_SIZE }));
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ op: fc.constant('write' as const), pos, length }) },
  { weight: 6, arbitrary: fc.record({ op: fc.constant('read' as const), pos, length }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('truncate' as const), pos, length }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('punch' as const), pos, length }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('flush' as const), pos, length }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('sync' as const), pos, length }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('invalidate' as const), pos, length }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('invalidate2' as const), pos, length }) },
);

/** Small reproducible random numbers. */
function random(seed: number): (below: number) => number {
  let state = seed | 1;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (state >> 8) % below;
  };
}

t.test('is a byte array', async (t) => {
  let stamp = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.integer(), fc.boolean(), async (steps, seed, ahead) => {
      const world = new World({ limit: 64 * PAGE_SIZE });
      const rnd = random(seed);
      const bdi = new Bdi(world.memory, 'fake');
      const file: FakeFile = new FakeFile(world, ahead ? { readahead: FakeFile.readahead(() => file) } : {}, bdi);
      file.behaviour = {
        delay: () => (rnd(3) === 0 ? 0 : rnd(200)),
        redirty: () => rnd(4) === 0,
        activate: () => rnd(3) === 0,
        stable: (seed & 2) === 0,
      };
      const opened = file.open();
      let model = Buffer.alloc(0);
      let background: Promise<unknown>[] = [];
      let reads: Promise<void>[] = [];
      const mutate = async (): Promise<void> => {
        await Promise.all(reads);
        reads = [];
      };
      for (const s of steps) {
        const task = world.task(s.op);
        const len = Math.min(s.length, MAX - s.pos);
        if (s.op === 'write') {
          await mutate();
          const bytes = Buffer.alloc(len, ++stamp & 255 || 1);
          if ((await file.write(task, s.pos, bytes, opened)) !== len) throw new Error('short write');
          if (s.pos + len > model.length) model = Buffer.concat([model, Buffer.alloc(s.pos + len - model.length)]);
          bytes.copy(model, s.pos);
        } else if (s.op === 'read') {
          const want = model.subarray(s.pos, s.pos + len);
          const read = async (): Promise<void> => {
            const iter = IovIter.ofDest(len);
            const n = await filemap_read(task, file.iocb(s.pos, { ki_filp: opened }), iter);
            const got = Buffer.concat(iter.segments);
            iter.release();
            if (n !== want.length || !got.equals(want)) throw new Error(`read ${s.pos}+${len}: ${n} of ${want.length}`);
          };
          // Readers pin what they have read: more of them at once than memory has pages for would starve each other.
          if (reads.length === 2) await mutate();
          reads.push(read());
        } else if (s.op === 'truncate') {
          await mutate();
          await file.truncate(task, s.pos);
          const grown = Buffer.alloc(s.pos);
          model.copy(grown, 0, 0, s.pos);
          model = grown;
        } else if (s.op === 'punch') {
          await mutate();
          await file.punch(task, s.pos, len);
          model.fill(0, Math.min(s.pos, model.length), Math.min(s.pos + len, model.length));
        } else if (s.op === 'flush') {
          background.push(filemap_flush(task, file.mapping));
        } else if (s.op === 'sync') {
          await filemap_write_and_wait_range(task, file.mapping, 0, Number.POSITIVE_INFINITY);
          if (!file.stored().equals(model)) throw new Error('sync has not stored everything');
        } else if (s.op === 'invalidate') {
          background.push(invalidate_mapping_pages(task, file.mapping, 0, 1_000));
        } else {
          background.push(
            invalidate_inode_pages2_range(task, file.mapping, 0, 1_000).catch((error: unknown) => {
              if (!isErrno(error, 'EBUSY')) throw error;
            }),
          );
        }
        await hops(rnd(6));
        if (rnd(4) === 0) {
          await Promise.all(background);
          background = [];
        }
        if (world.memory.nr_pages > world.memory.limit + 8) throw new Error(`over the limit: ${world.memory.nr_pages}`);
      }
      await mutate();
      await Promise.all(background);
      await filemap_write_and_wait_range(world.task(), file.mapping, 0, Number.POSITIVE_INFINITY);
      if (!file.stored().equals(model)) throw new Error('the device differs at the end');
      if (world.memory.nr_dirty !== 0 || world.memory.nr_writeback !== 0) throw new Error('counts differ');
      while (world.memory.kswapdRunning) await settle();
      await truncate_inode_pages_final(world.task(), file.mapping);
      if (world.memory.nr_pages !== 0 || world.memory.nr_file_pages !== 0 || bdi.nr_dirty !== 0) {
        throw new Error(`pages leaked: ${world.memory.nr_pages}`);
      }
      if (world.violations.length > 0) throw new Error(world.messages().join('; '));
    }),
    { numRuns: 300 },
  );
  t.pass('150 random histories');
});
