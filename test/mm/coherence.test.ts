/** One file through every door at once against a plain buffer: write(2), O_DIRECT, mappings, truncation, holes, writeback, reclaim and migration. */

import fc from 'fast-check';
import t from 'tap';
import { compact_memory } from '../../src/mm/compaction.js';
import {
  direct_write_fallback,
  generic_file_direct_write,
  generic_file_read_iter,
} from '../../src/mm/filemap-direct.js';
import { filemap_write_and_wait_range } from '../../src/mm/filemap-wait.js';
import { generic_perform_write } from '../../src/mm/filemap-write.js';
import { PAGE_SIZE } from '../../src/mm/folio.js';
import { IovIter } from '../../src/mm/iov-iter.js';
import { do_munmap } from '../../src/mm/mmap.js';
import { madvise } from '../../src/mm/msync.js';
import type { address_space_operations, Kiocb } from '../../src/mm/operations.js';
import { pagecache_isize_extended } from '../../src/mm/truncate.js';
import { shrink_node } from '../../src/mm/vmscan.js';
import type { Task } from '../../src/sched/task.js';
import { MADV_DONTNEED, MAP_PRIVATE } from '../../src/uapi/mman.js';
import { FakeFile, hops, World } from './fake-file.js';
import { failureOf, Process, TestVmFile } from './process.js';

const P = PAGE_SIZE;
const SIZE = 6 * P;
const SECTOR = 512;

/** direct_IO on the fake device: whole sectors, up to `limit` bytes at a time. */
function directIo(file: () => FakeFile, limit: () => number): NonNullable<address_space_operations['direct_IO']> {
  return async (task, iocb, iter) => {
    const { device, i_size } = file();
    const write = iter.source !== undefined;
    const room = write ? iter.count : Math.max(0, i_size - iocb.ki_pos);
    const count = Math.min(iter.count, room, limit());
    let at = iocb.ki_pos;
    await hops(2);
    while (at < iocb.ki_pos + count) {
      const index = Math.floor(at / P);
      const n = Math.min(P - (at % P), iocb.ki_pos + count - at);
      const page = device.get(index) ?? Buffer.alloc(P);
      if (write) {
        iter.take(n).copy(page, at % P);
        device.set(index, page);
      } else iter.addBytes(Buffer.from(page.subarray(at % P, (at % P) + n)));
      at += n;
    }
    if (write && at > i_size) {
      file().i_size = at;
      await pagecache_isize_extended(task, file().mapping, i_size, iocb.ki_pos);
    }
    return count;
  };
}

class Doors {
  readonly world = new World({ limit: 64 * P });
  limit = Number.POSITIVE_INFINITY;
  readonly file: FakeFile;
  readonly process: Process;
  readonly task: Task;
  at = 0;

  constructor(delay: number) {
    this.file = new FakeFile(this.world, {
      direct_IO: directIo(
        () => this.file,
        () => this.limit,
      ),
    });
    this.file.behaviour = { delay: () => delay };
    this.process = new Process(this.world);
    this.task = this.world.task('program');
  }

  iocb(pos: number, direct: boolean): Kiocb {
    return this.file.iocb(pos, { direct });
  }

  async read(pos: number, count: number, direct: boolean): Promise<Buffer> {
    const iter = IovIter.ofDest(count);
    try {
      await generic_file_read_iter(this.task, this.iocb(pos, direct), iter);
      return Buffer.concat(iter.segments);
    } finally {
      iter.release();
    }
  }

  async write(pos: number, bytes: Buffer, direct: boolean): Promise<void> {
    if (!direct) {
      await this.file.write(this.task, pos, bytes);
      return;
    }
    using _lock = await this.file.i_rwsem.write(this.task);
    const iocb = this.iocb(pos, true);
    const iter = IovIter.ofSource(bytes);
    const straight = await generic_file_direct_write(this.task, iocb, iter);
    if (iter.count === 0) return;
    const buffered = await generic_perform_write(this.task, iocb, iter);
    await direct_write_fallback(this.task, iocb, straight, buffered);
  }
}

const op = fc.constantFrom(
  'write',
  'dwrite',
  'store',
  'read',
  'dread',
  'load',
  'private',
  'truncate',
  'punch',
  'sync',
  'reclaim',
  'migrate',
  'unmap',
);
const step = fc.record({
  op,
  sector: fc.integer({ min: 0, max: SIZE / SECTOR - 1 }),
  count: fc.integer({ min: 1, max: 20 }),
  fill: fc.integer({ min: 1, max: 255 }),
  limit: fc.constantFrom(Number.POSITIVE_INFINITY, P, SECTOR),
});

t.test('every door shows the same bytes', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.constantFrom(0, 3), async (steps, delay) => {
      const doors = new Doors(delay);
      const { world, file, process, task } = doors;
      const vmFile = new TestVmFile(file);
      doors.at = await process.mmap(vmFile, SIZE);
      const own = await process.mmap(new TestVmFile(file), SIZE, MAP_PRIVATE);
      const model = Buffer.alloc(SIZE);
      let size = 0;
      const set = (from: number, to: number, fill: number): void => void model.fill(fill, from, to);
      for (const { op, sector, count, fill, limit } of steps) {
        doors.limit = limit;
        const pos = sector * SECTOR;
        const end = Math.min(SIZE, pos + count * SECTOR);
        if (op === 'write' || op === 'dwrite') {
          await doors.write(pos, Buffer.alloc(end - pos, fill), op === 'dwrite');
          set(pos, end, fill);
          size = Math.max(size, end);
        } else if (op === 'store' || op === 'private') {
          // Within pages of the file: beyond them it is SIGBUS.
          const last = Math.min(end, Math.ceil(size / P) * P);
          if (last <= pos) {
            if (pos >= Math.ceil(size / P) * P && (await failureOf(process.store(doors.at + pos, 'x'))) !== 'SIGBUS')
              return false;
            continue;
          }
          if (op === 'private') {
            await process.store(own + pos, Buffer.alloc(last - pos, fill));
            if (!(await process.load(own + pos, last - pos)).equals(Buffer.alloc(last - pos, fill))) return false;
            await madvise(process.task, process.mm, own, SIZE, MADV_DONTNEED);
          } else {
            await process.store(doors.at + pos, Buffer.alloc(last - pos, fill));
            set(pos, Math.min(last, size), fill);
          }
        } else if (op === 'read' || op === 'dread') {
          const got = await doors.read(pos, end - pos, op === 'dread');
          if (!got.equals(model.subarray(pos, Math.max(pos, Math.min(end, size))))) return false;
        } else if (op === 'load') {
          const last = Math.min(end, size);
          if (last <= pos) continue;
          if (!(await process.load(doors.at + pos, last - pos)).equals(model.subarray(pos, last))) return false;
          if (!(await process.load(own + pos, last - pos)).equals(model.subarray(pos, last))) return false;
        } else if (op === 'truncate') {
          // What was stored behind the end of the file is gone when the file grows over it.
          await file.truncate(task, pos);
          if (pos < size) set(pos, SIZE, 0);
          size = pos;
        } else if (op === 'punch') {
          const last = Math.min(end, size);
          if (last <= pos) continue;
          await file.punch(task, pos, last - pos);
          set(pos, last, 0);
        } else if (op === 'sync') {
          await filemap_write_and_wait_range(task, file.mapping, 0, Number.MAX_SAFE_INTEGER);
          if (!file.stored().equals(model.subarray(0, size))) return false;
        } else if (op === 'reclaim') {
          for (const folio of world.memory.inactive.all()) folio.referenced = false;
          await shrink_node(world.task('kswapd'), world.memory, 16, 0);
        } else if (op === 'migrate') await compact_memory(world.task('kcompactd'), world.memory);
        else {
          await do_munmap(process.task, process.mm, doors.at, SIZE);
          doors.at = await process.mmap(vmFile, SIZE);
          vmFile.get_file();
        }
        if (file.i_size !== size) return false;
      }
      return world.violations.length === 0;
    }),
    { numRuns: Number(process.env['LATCHFS_RUNS'] ?? 250) },
  );
  t.end();
});

t.test('a direct write drops mapped pages, and who has them mapped sees it', async (t) => {
  const doors = new Doors(0);
  const { file, process, world } = doors;
  await doors.write(0, Buffer.alloc(2 * P, 'a'), false);
  const at = await process.mmap(new TestVmFile(file), 2 * P);
  t.equal((await process.load(at, 1)).toString(), 'a');
  await process.store(at + P, 'stored');
  await doors.write(0, Buffer.alloc(P, 'd'), true);
  t.equal((await process.load(at, 1)).toString(), 'd');
  t.equal((await doors.read(P, 6, true)).toString(), 'stored', 'a direct read writes out what was stored before');
  t.equal(file.mapping.i_pages.marked('dirty'), false);
  t.same(world.messages(), []);
});

t.test('nowait: EAGAIN where pages are in the way', async (t) => {
  const doors = new Doors(0);
  await doors.write(0, Buffer.alloc(P, 'a'), false);
  const iocb = doors.file.iocb(0, { direct: true, nowait: true });
  const reading = Promise.resolve(generic_file_read_iter(doors.task, iocb, IovIter.ofDest(P)));
  t.equal(await failureOf(reading), 'EAGAIN', 'a dirty page');
  await using_lock(doors, async () => {
    const writing = generic_file_direct_write(doors.task, iocb, IovIter.ofSource(Buffer.alloc(P)));
    t.equal(await failureOf(writing), 'EAGAIN');
  });
  const none = new FakeFile(doors.world);
  none.i_size = P;
  const bare = none.iocb(0, { direct: true });
  t.equal(await failureOf(Promise.resolve(generic_file_read_iter(doors.task, bare, IovIter.ofDest(P)))), 'EINVAL');
  t.same(doors.world.messages(), []);
});

async function using_lock(doors: Doors, body: () => Promise<void>): Promise<void> {
  using _lock = await doors.file.i_rwsem.write(doors.task);
  await body();
}
