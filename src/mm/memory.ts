/**
 * The memory of one machine: how much the page cache may take, what of it is dirty, and who is asked when it runs short. What
 * reclaim does is in vmscan.ts, what writers are made to wait for in page-writeback.ts.
 */
import { SlabPool } from '../block/slab.js';
import { Lockdep } from '../locking/lockdep.js';
import { Rcu } from '../locking/rcu.js';
import type { Awaitable } from '../sched/awaitable.js';
import type { Scheduler } from '../sched/scheduler.js';
import type { Task } from '../sched/task.js';
import type { Validator } from '../sched/validator.js';
import { WaitQueue } from '../sched/wait.js';
import type { Bdi, FlushReason } from './backing-dev.js';
import { PAGE_SIZE } from './folio.js';
import { LruList } from './lru.js';
import type { MmStruct } from './mm-struct.js';
import type { SwapInfo } from './swap-info.js';

/** The least that a machine works with, in pages. */
const MIN_LIMIT = 64;

/** A cache that can let go of things: dentries, inodes, buffers (struct shrinker). */
export interface Shrinker {
  /** Objects that could be freed. */
  count(): number;
  /** Try to free about `nr` objects. @returns how many were freed */
  scan(task: Task, nr: number): Awaitable<number>;
}

/** How many unused inodes each filesystem keeps in memory unless it is told otherwise. */
export const MAX_INODES = 50_000;

export interface MemoryOptions {
  /** Bytes that the page cache may take. */
  readonly limit: number;
  /** Unused inodes that each filesystem keeps in memory; the limits for dentries and dirty inodes follow from it. */
  readonly inodes?: number;
  /** Who hears of broken rules where no task is at hand. Without one they are thrown. */
  readonly validator?: Validator;
  /** Percentage of the limit over which writers are throttled (vm.dirty_ratio). */
  readonly dirtyRatio?: number;
  /** Percentage of the limit over which the flusher starts (vm.dirty_background_ratio). */
  readonly dirtyBackgroundRatio?: number;
}

export class MemoryControl {
  readonly sched: Scheduler;
  readonly validator: Validator;
  /** Where the pages themselves come from. */
  readonly pool = new SlabPool();
  /** Pages. */
  readonly limit: number;
  /** Pages dirty or under writeback over which writers wait. */
  readonly dirty_thresh: number;
  /** Dirty pages over which the flushers are woken. */
  readonly bg_thresh: number;
  /** Unused inodes that each filesystem keeps in memory. */
  readonly max_inodes: number;
  /** Folios in page caches, dirty ones among them, and those under writeback. */
  nr_file_pages = 0;
  nr_dirty = 0;
  nr_writeback = 0;
  /** Pages that reclaim has freed so far. */
  nr_reclaimed = 0;
  readonly active = new LruList();
  readonly inactive = new LruList();
  readonly bdis = new Set<Bdi>();
  readonly shrinkers = new Set<Shrinker>();
  /** Swap areas, in the order of use. */
  readonly swap = new Set<SwapInfo>();
  /** The address spaces of the processes. */
  readonly mms = new Set<MmStruct>();
  /** Sections in which pages are mapped without a lock (map_pages). */
  readonly rcu = new Rcu();
  /** Pages that are broken and never used again. */
  nr_poisoned = 0;
  /** Writers that wait until less is dirty. */
  readonly dirtyWaiters = new WaitQueue();
  /** Allocations that wait for reclaim to make a pass. */
  readonly reclaimWaiters = new WaitQueue();
  kswapdRunning = false;
  readonly #pressure = new Set<() => void>();

  constructor(sched: Scheduler, options: MemoryOptions) {
    this.sched = sched;
    this.validator = options.validator ?? new Lockdep('error', () => undefined);
    this.max_inodes = options.inodes ?? MAX_INODES;
    this.limit = Math.max(MIN_LIMIT, Math.floor(options.limit / PAGE_SIZE));
    this.dirty_thresh = Math.max(1, Math.floor((this.limit * (options.dirtyRatio ?? 20)) / 100));
    const background = Math.floor((this.limit * (options.dirtyBackgroundRatio ?? 10)) / 100);
    // domain_dirty_limits: below the other one in any case.
    this.bg_thresh = background < this.dirty_thresh ? background : this.dirty_thresh >> 1;
  }

  /** Pages in use, whether in a cache or only referenced. */
  get nr_pages(): number {
    return this.pool.used;
  }

  /** Give back the page of a folio that has no references any more. */
  freePage(pfn: number): void {
    this.pool.free(pfn);
  }

  /** Ask `shrinker` whenever memory is short. @returns what ends that */
  registerShrinker(shrinker: Shrinker): () => void {
    this.shrinkers.add(shrinker);
    return () => this.shrinkers.delete(shrinker);
  }

  /** Call `wake` when dirty pages should be written back now. It may not block. @returns what ends that */
  onDirtyPressure(wake: () => void): () => void {
    this.#pressure.add(wake);
    return () => this.#pressure.delete(wake);
  }

  /** Ask every filesystem's flusher for background writeback (wakeup_flusher_threads). */
  wakeFlushers(reason: FlushReason): void {
    for (const bdi of this.bdis) bdi.wakeFlusher(reason);
    for (const wake of this.#pressure) wake();
  }
}
