/** The page cache of one file against a plain buffer: write, read, truncate, write back and reclaim in any order. */
import fc from 'fast-check';
import t from 'tap';
import { Lockdep } from '../../src/locking/lockdep.js';
import { RwSem } from '../../src/locking/rwsem.js';
import { AddressSpace, type MappingHost, type MmFile } from '../../src/mm/address-space.js';
import {
  filemap_grab_folio,
  folio_end_read,
  folio_end_writeback,
  folio_mark_dirty,
  folio_start_writeback,
  folio_unlock,
} from '../../src/mm/filemap.js';
import { filemap_read } from '../../src/mm/filemap-read.js';
import { filemap_write_and_wait_range } from '../../src/mm/filemap-wait.js';
import { generic_perform_write } from '../../src/mm/filemap-write.js';
import { folio_put, PAGE_SIZE } from '../../src/mm/folio.js';
import { folio_mark_uptodate } from '../../src/mm/folio-state.js';
import { IovIter } from '../../src/mm/iov-iter.js';
import { MemoryControl } from '../../src/mm/memory.js';
import type { address_space_operations, Kiocb } from '../../src/mm/operations.js';
import { newRaState } from '../../src/mm/readahead-state.js';
import { truncate_inode_pages_range } from '../../src/mm/truncate.js';
import { reclaim_clean } from '../../src/mm/vmscan.js';
import { zero_partial_folio } from '../../src/mm/zero-edge.js';
import { RealScheduler } from '../../src/sched/real.js';
import { Task } from '../../src/sched/task.js';

const SIZE = 6 * PAGE_SIZE;

/** A file on a device that is a buffer. */
class FakeFile implements MappingHost {
  readonly i_ino = 1;
  i_size = 0;
  readonly i_rwsem = new RwSem('i_rwsem');
  readonly disk = Buffer.alloc(SIZE);
  readonly file: MmFile;
  readonly mapping: AddressSpace;

  constructor(memory: MemoryControl, later: boolean) {
    const pause = (): Promise<void> | undefined => (later ? Promise.resolve() : undefined);
    const ops: address_space_operations = {
      read_folio: async (task, _file, folio) => {
        await pause();
        this.disk.copy(folio.data, 0, folio.index * PAGE_SIZE, (folio.index + 1) * PAGE_SIZE);
        folio_end_read(task, folio, true);
      },
      writepage: async (task, folio) => {
        folio_start_writeback(task, folio);
        folio_unlock(task, folio);
        await pause();
        folio.data.copy(this.disk, folio.index * PAGE_SIZE);
        folio_end_writeback(task, folio);
      },
      write_begin: async (task, _file, mapping, pos, len) => {
        const { folio } = await filemap_grab_folio(task, mapping, Math.floor(pos / PAGE_SIZE));
        if (!folio.uptodate && len < PAGE_SIZE) {
          this.disk.copy(folio.data, 0, folio.index * PAGE_SIZE, (folio.index + 1) * PAGE_SIZE);
          folio_mark_uptodate(folio);
        }
        return { folio, fsdata: undefined };
      },
      write_end: (task, _file, _mapping, pos, _len, copied, { folio }) => {
        folio_mark_uptodate(folio);
        folio_mark_dirty(task, folio);
        this.i_size = Math.max(this.i_size, pos + copied);
        folio_unlock(task, folio);
        folio_put(folio);
        return copied;
      },
    };
    this.mapping = new AddressSpace(this, ops, memory);
    this.file = { f_mapping: this.mapping, f_ra: newRaState(8), f_wb_err: 0 };
  }

  mark_dirty_pages(): void {}

  iocb(ki_pos: number): Kiocb {
    return { ki_filp: this.file, ki_pos, direct: false, sync: false, append: false, nowait: false };
  }

  async truncate(task: Task, size: number): Promise<void> {
    const rwsem = await this.i_rwsem.write(task);
    const held = await this.mapping.invalidate_lock.write(task);
    const edge = Math.min(Math.ceil(size / PAGE_SIZE) * PAGE_SIZE, Math.max(size, this.i_size));
    if (edge > size) await zero_partial_folio(task, this.mapping, size, edge, held);
    this.i_size = size;
    await truncate_inode_pages_range(task, this.mapping, size, Number.MAX_SAFE_INTEGER, held);
    held.release();
    this.disk.fill(0, Math.ceil(size / PAGE_SIZE) * PAGE_SIZE);
    rwsem.release();
  }
}

type Step =
  | { readonly op: 'write'; readonly pos: number; readonly length: number; readonly byte: number }
  | { readonly op: 'read'; readonly pos: number; readonly length: number }
  | { readonly op: 'truncate'; readonly size: number }
  | { readonly op: 'sync' }
  | { readonly op: 'reclaim' };

const at = fc.integer({ min: 0, max: SIZE - 1 });
const length = fc.integer({ min: 1, max: 2 * PAGE_SIZE });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ op: fc.constant('write' as const), pos: at, length, byte: fc.integer({ min: 1, max: 255 }) }),
  fc.record({ op: fc.constant('read' as const), pos: at, length }),
  fc.record({ op: fc.constant('truncate' as const), size: at }),
  fc.record({ op: fc.constant('sync' as const) }),
  fc.record({ op: fc.constant('reclaim' as const) }),
);

async function run(steps: readonly Step[], later: boolean): Promise<void> {
  const sched = new RealScheduler();
  const validator = new Lockdep('error', () => undefined);
  const memory = new MemoryControl(sched, { limit: 64 * PAGE_SIZE, validator });
  const task = new Task(sched, validator);
  const host = new FakeFile(memory, later);
  let model = Buffer.alloc(0);
  for (const s of steps) {
    if (s.op === 'write') {
      const bytes = Buffer.alloc(Math.min(s.length, SIZE - s.pos), s.byte);
      const rwsem = await host.i_rwsem.write(task);
      const n = await generic_perform_write(task, host.iocb(s.pos), IovIter.ofSource(bytes));
      rwsem.release();
      if (n !== bytes.length) throw new Error(`wrote ${n} of ${bytes.length}`);
      const grown = Buffer.alloc(Math.max(model.length, s.pos + n));
      model.copy(grown);
      bytes.copy(grown, s.pos);
      model = grown;
    } else if (s.op === 'read') {
      const iter = IovIter.ofDest(s.length);
      const n = await filemap_read(task, host.iocb(s.pos), iter);
      const got = Buffer.concat(iter.segments);
      for (const folio of iter.folios) folio_put(folio);
      const want = model.subarray(s.pos, s.pos + s.length);
      if (n !== want.length || !got.equals(want)) throw new Error(`read at ${s.pos}: ${n} of ${want.length}`);
    } else if (s.op === 'truncate') {
      await host.truncate(task, s.size);
      const cut = Buffer.alloc(s.size);
      model.copy(cut);
      model = cut;
    } else if (s.op === 'sync') {
      await filemap_write_and_wait_range(task, host.mapping, 0, Number.MAX_SAFE_INTEGER);
      if (!host.disk.subarray(0, model.length).equals(model)) throw new Error('the disk differs after a sync');
      if (memory.nr_dirty !== 0 || memory.nr_writeback !== 0) throw new Error('dirty pages after a sync');
    } else {
      reclaim_clean(task, memory);
    }
    if (task.held.length > 0) throw new Error(`${s.op} leaves locks held`);
    if (memory.nr_file_pages !== host.mapping.nrpages) throw new Error(`${s.op}: the page count is off`);
  }
  await host.truncate(task, 0);
  if (memory.nr_file_pages !== 0 || memory.pool.used !== 0 || memory.nr_dirty !== 0) throw new Error('pages leak');
}

t.test('a file behaves as a buffer, whether its device answers at once or later', async (t) => {
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 30 }), fc.boolean(), run), { numRuns: 300 });
  t.pass('every history agreed');
});
