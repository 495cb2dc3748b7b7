/** A file on a device that is a map of pages, for tests of the page cache: its I/O completes later, in completion context. */

import type { Violation } from '../../src/locking/lockdep/violation.js';
import { Lockdep } from '../../src/locking/lockdep.js';
import { RwSem } from '../../src/locking/rwsem.js';
import { AddressSpace, type MappingHost, type MmFile } from '../../src/mm/address-space.js';
import type { Bdi } from '../../src/mm/backing-dev.js';
import { filemap_grab_folio } from '../../src/mm/filemap.js';
import { generic_perform_write } from '../../src/mm/filemap-write.js';
import { type Folio, folio_put, folio_zero_range, PAGE_SIZE, pageOf } from '../../src/mm/folio.js';
import {
  filemap_dirty_folio,
  folio_end_read,
  folio_end_writeback,
  folio_hand_over,
  folio_mark_dirty,
  folio_mark_uptodate,
  folio_redirty_for_writepage,
  folio_start_writeback,
  folio_unlock,
  folio_wait_writeback,
} from '../../src/mm/folio-state.js';
import { IovIter } from '../../src/mm/iov-iter.js';
import { MemoryControl, type MemoryOptions } from '../../src/mm/memory.js';
import {
  type address_space_operations,
  type Kiocb,
  WRITEPAGE_ACTIVATE,
  type WriteBegun,
  type WritebackControl,
} from '../../src/mm/operations.js';
import { newRaState } from '../../src/mm/readahead-state.js';
import { pagecache_isize_extended, truncate_inode_pages_range, truncate_setsize } from '../../src/mm/truncate.js';
import { type Awaitable, andThen } from '../../src/sched/awaitable.js';
import { type Errno, errno } from '../../src/sched/errno.js';
import { RealScheduler } from '../../src/sched/real.js';
import { Task } from '../../src/sched/task.js';

/** A machine with little memory, which notes every violation. */
export class World {
  readonly sched = new RealScheduler();
  readonly violations: Violation[] = [];
  readonly validator = new Lockdep('warn', (violation) => this.violations.push(violation));
  readonly memory: MemoryControl;

  constructor(options: Partial<MemoryOptions> = {}) {
    this.memory = new MemoryControl(this.sched, { limit: 1 << 20, validator: this.validator, ...options });
  }

  task(comm = 'test'): Task {
    return new Task(this.sched, this.validator, { comm });
  }

  messages(): string[] {
    return this.violations.map((violation) => violation.message);
  }
}

export interface FakeBehaviour {
  /** Microtasks until an I/O completes; 0 for at once, in the submitter's stack. */
  readonly delay?: () => number;
  /** Whether a cleansing writepage answers that it would block. */
  readonly redirty?: () => boolean;
  /** Whether a writepage for reclaim answers WRITEPAGE_ACTIVATE. */
  readonly activate?: () => boolean;
  /** The error of the next write, if it is to fail. */
  readonly failWrite?: (index: number) => Errno | undefined;
  readonly failRead?: (index: number) => boolean;
  /** A write waits for the writeback of its page. */
  readonly stable?: boolean;
  /** Wait for `resume` instead of completing. */
  readonly hold?: boolean;
}

export class FakeFile implements MappingHost {
  readonly i_ino = 1;
  i_size = 0;
  readonly i_rwsem = new RwSem('i_rwsem');
  readonly i_bdi: Bdi | undefined;
  readonly world: World;
  readonly mapping: AddressSpace;
  /** What the device has. */
  readonly device = new Map<number, Buffer>();
  /** Calls, for tests that count them. */
  readonly log: string[] = [];
  behaviour: FakeBehaviour = {};
  dirtied = 0;
  inFlight = 0;
  #held: (() => void)[] = [];

  constructor(world: World, extra: address_space_operations = {}, bdi?: Bdi) {
    this.world = world;
    this.i_bdi = bdi;
    const ops: address_space_operations = {
      read_folio: (task, _file, folio) => this.#read(task, folio, 'read_folio'),
      writepage: (task, folio, wbc) => this.#writepage(task, folio, wbc),
      dirty_folio: filemap_dirty_folio,
      write_begin: (task, _file, mapping, pos, len) => this.#writeBegin(task, mapping, pos, len),
      write_end: (task, _file, mapping, pos, _len, copied, begun) => {
        const { folio } = begun;
        folio_mark_uptodate(folio);
        const size = mapping.host.i_size;
        if (pos + copied > size) mapping.host.i_size = pos + copied;
        folio_mark_dirty(task, folio);
        folio_unlock(task, folio);
        folio_put(folio);
        return andThen(pagecache_isize_extended(task, mapping, size, pos), () => copied);
      },
      ...extra,
    };
    this.mapping = new AddressSpace(this, ops, world.memory);
  }

  mark_dirty_pages(): void {
    this.dirtied++;
  }

  /** Let the I/O that was held complete. */
  resume(): void {
    const held = this.#held;
    this.#held = [];
    for (const complete of held) complete();
  }

  open(raPages = 8): MmFile {
    return { f_mapping: this.mapping, f_ra: newRaState(raPages), f_wb_err: this.mapping.wb_err.sample() };
  }

  iocb(pos: number, options: Partial<Kiocb> = {}): Kiocb {
    return {
      ki_filp: this.open(),
      ki_pos: pos,
      direct: false,
      sync: false,
      append: false,
      nowait: false,
      ...options,
    };
  }

  async write(task: Task, pos: number, bytes: Buffer, file?: MmFile): Promise<number> {
    using _lock = await this.i_rwsem.write(task);
    const iocb = this.iocb(pos, file === undefined ? {} : { ki_filp: file });
    return await generic_perform_write(task, iocb, IovIter.ofSource(bytes));
  }

  async truncate(task: Task, size: number): Promise<void> {
    using _lock = await this.i_rwsem.write(task);
    using held = await this.mapping.invalidate_lock.write(task);
    const before = this.i_size;
    await truncate_setsize(
      task,
      this.mapping,
      size,
      (value) => {
        this.i_size = value;
      },
      held,
    );
    if (size < before) this.#free(size, Number.POSITIVE_INFINITY);
  }

  async punch(task: Task, start: number, length: number): Promise<void> {
    using _lock = await this.i_rwsem.write(task);
    using held = await this.mapping.invalidate_lock.write(task);
    await truncate_inode_pages_range(task, this.mapping, start, start + length - 1, held);
    this.#free(start, start + length);
  }

  /** The file as the device has it. */
  stored(): Buffer {
    const bytes = Buffer.alloc(this.i_size);
    for (const [index, page] of this.device) page.copy(bytes, index * PAGE_SIZE);
    return bytes;
  }

  /** Zero the device's bytes from `start` to before `end`. */
  #free(start: number, end: number): void {
    for (const [index, page] of this.device) {
      const at = index * PAGE_SIZE;
      const from = Math.max(0, start - at);
      const to = Math.min(PAGE_SIZE, end - at);
      if (from === 0 && to === PAGE_SIZE) this.device.delete(index);
      else if (from < to) page.fill(0, from, to);
    }
  }

  #fill(folio: Folio): void {
    const page = this.device.get(folio.index);
    if (page === undefined) folio_zero_range(folio, 0, PAGE_SIZE);
    else page.copy(folio.data);
  }

  #read(task: Task, folio: Folio, what: string): void {
    this.log.push(`${what} ${folio.index}`);
    folio_hand_over(folio);
    this.submit(task, (completion) => {
      const failed = this.behaviour.failRead?.(folio.index) === true;
      if (!failed) this.#fill(folio);
      folio_end_read(completion, folio, !failed);
    });
  }

  /** readahead for tests that want it: add `readahead: file.readahead` to the operations. */
  static readahead(file: () => FakeFile): NonNullable<address_space_operations['readahead']> {
    return (task, rac) => {
      file().log.push(`readahead ${rac.folios[0]?.index}+${rac.folios.length}`);
      for (const folio of rac.folios) file().#read(task, folio, 'ra');
    };
  }

  /** Run `complete` in completion context, now or later. */
  submit(task: Task, complete: (completion: Task) => void): void {
    task.nr_ios++;
    this.inFlight++;
    const completion = new Task(this.world.sched, this.world.validator, { comm: 'irq', context: 'completion' });
    const done = (): void => {
      this.inFlight--;
      complete(completion);
    };
    if (this.behaviour.hold === true) {
      this.#held.push(done);
      return;
    }
    const delay = this.behaviour.delay?.() ?? 0;
    if (delay === 0) done();
    else void hops(delay).then(done);
  }

  #writepage(task: Task, folio: Folio, wbc: WritebackControl): Awaitable<void | typeof WRITEPAGE_ACTIVATE> {
    this.log.push(`writepage ${folio.index} ${wbc.sync_mode}`);
    if (wbc.for_reclaim === true && this.behaviour.activate?.() === true) {
      folio_redirty_for_writepage(task, wbc, folio);
      return WRITEPAGE_ACTIVATE;
    }
    if (wbc.sync_mode === 'WBC_SYNC_NONE' && this.behaviour.redirty?.() === true) {
      folio_redirty_for_writepage(task, wbc, folio);
      folio_unlock(task, folio);
      return undefined;
    }
    const end = this.i_size - folio.index * PAGE_SIZE;
    if (end > 0 && end < PAGE_SIZE) folio_zero_range(folio, end, PAGE_SIZE - end);
    folio_start_writeback(task, folio);
    folio_unlock(task, folio);
    const error = this.behaviour.failWrite?.(folio.index);
    this.submit(task, (completion) => {
      if (error === undefined) {
        // As late as can be: the device may read the memory at any time until it is done.
        const page = this.device.get(folio.index) ?? Buffer.alloc(PAGE_SIZE);
        folio.data.copy(page);
        this.device.set(folio.index, page);
      }
      folio_end_writeback(completion, folio, error);
    });
    return undefined;
  }

  async #writeBegin(task: Task, mapping: AddressSpace, pos: number, len: number): Promise<WriteBegun> {
    const { folio } = await filemap_grab_folio(task, mapping, pageOf(pos));
    // No stable pages: what is under writeback may change, and is written again.
    if (this.behaviour.stable === true) await folio_wait_writeback(task, folio);
    if (!folio.uptodate && len !== PAGE_SIZE) this.#fill(folio);
    return { folio, fsdata: undefined };
  }
}

/** Let `n` microtasks pass. */
export async function hops(n: number): Promise<void> {
  for (let i = 0; i < n; i++) await undefined;
}

/** Let the timers and everything else run that is due. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export const eio = (): Errno => errno('EIO');
