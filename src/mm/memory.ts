/** The memory of one machine: how much the page cache may take, what of it is dirty, and how it is won back (mm/vmscan.c). */
import { address_space_operations } from '../contract/address-space.js';
import { call } from '../locking/context.js';
import type { Awaitable } from '../sched/awaitable.js';
import { isErrno } from '../sched/errno.js';
import type { Scheduler } from '../sched/scheduler.js';
import type { Task } from '../sched/task.js';
import { WaitQueue } from '../sched/wait.js';
import { remove_mapping } from './filemap.js';
import { type Folio, PAGE_SIZE } from './folio.js';
import { PagePool } from './page-pool.js';

/** Pages to win back at a time (SWAP_CLUSTER_MAX). */
const CLUSTER = 32;
/** Milliseconds that an allocation waits for writeback, and how often, before it may exceed the limit. */
const PATIENCE = 20;
const ATTEMPTS = 50;

/** A cache that can let go of things: dentries, inodes, buffers. */
export interface Shrinker {
  /** Try to free about `count` objects. May not block. */
  scan(count: number): void;
}

export interface MemoryOptions {
  /** Bytes that the page cache may take. */
  readonly limit: number;
  /** Percentage of the limit over which writers are throttled (vm.dirty_ratio). */
  readonly dirtyRatio?: number;
  /** Percentage of the limit over which the flusher starts (vm.dirty_background_ratio). */
  readonly dirtyBackgroundRatio?: number;
  readonly pool?: PagePool;
}

export class MemoryControl {
  readonly sched: Scheduler;
  readonly pool: PagePool;
  /** Pages. */
  readonly limit: number;
  /** Dirty pages over which writers write back themselves. */
  readonly dirty_limit: number;
  /** Dirty pages over which the flusher is woken. */
  readonly background_limit: number;
  /** Folios in page caches, dirty ones among them, and those under writeback. */
  nr_file_pages = 0;
  nr_dirty = 0;
  nr_writeback = 0;
  /** Those who wait for writeback to make room: woken when a writeback ends or a page is freed. */
  readonly progress = new WaitQueue();
  readonly #shrinkers = new Set<Shrinker>();
  readonly #flushers = new Set<() => void>();
  #lruHead: Folio | undefined;
  #lruTail: Folio | undefined;
  #lruLength = 0;

  constructor(sched: Scheduler, options: MemoryOptions) {
    this.sched = sched;
    this.pool = options.pool ?? new PagePool();
    this.limit = Math.max(CLUSTER * 2, Math.floor(options.limit / PAGE_SIZE));
    this.dirty_limit = Math.max(CLUSTER, Math.floor((this.limit * (options.dirtyRatio ?? 20)) / 100));
    const background = Math.floor((this.limit * (options.dirtyBackgroundRatio ?? 10)) / 100);
    this.background_limit = Math.max(1, Math.min(background, this.dirty_limit >> 1));
  }

  /** Ask `shrinker` whenever memory is short. @returns what ends that */
  registerShrinker(shrinker: Shrinker): () => void {
    this.#shrinkers.add(shrinker);
    return () => this.#shrinkers.delete(shrinker);
  }

  /** Call `wake` when dirty pages should be written back now (wakeup_flusher_threads). @returns what ends that */
  onDirtyPressure(wake: () => void): () => void {
    this.#flushers.add(wake);
    return () => this.#flushers.delete(wake);
  }

  wakeFlushers(): void {
    for (const wake of this.#flushers) wake();
  }

  /**
   * A page with anything in it. Over the limit, clean folios are won back first; where there are none it waits for writeback,
   * but not for ever: the caller may hold what writeback needs, so in the end the limit gives way.
   */
  alloc(task: Task): Awaitable<Buffer> {
    if (this.pool.used < this.limit) return this.pool.alloc();
    const freed = this.reclaim(task, CLUSTER);
    if (!(freed instanceof Promise) && (freed > 0 || task.atomic > 0)) return this.pool.alloc();
    return this.#allocSlow(task, freed);
  }

  /** Give back a page that `alloc` has returned. */
  free(page: Buffer): void {
    this.pool.free(page);
    this.progress.wake_one();
  }

  async #allocSlow(task: Task, first: Awaitable<number>): Promise<Buffer> {
    await first;
    for (let attempt = 0; attempt < ATTEMPTS && this.pool.used >= this.limit; attempt++) {
      for (const shrinker of this.#shrinkers) shrinker.scan(CLUSTER);
      if ((await this.reclaim(task, CLUSTER)) > 0) break;
      if (this.nr_dirty === 0 && this.nr_writeback === 0) break;
      this.wakeFlushers();
      try {
        await this.progress.wait(task, { what: 'free memory', timeout: PATIENCE });
      } catch (error) {
        if (!isErrno(error, 'ETIMEDOUT')) throw error;
      }
    }
    return this.pool.alloc();
  }

  /** Drop up to `count` clean folios that nobody uses, the oldest first (shrink_inactive_list). @returns how many */
  reclaim(task: Task, count: number): Awaitable<number> {
    let freed = 0;
    // Twice round: what was used since the last scan is spared once.
    for (let scan = this.#lruLength * 2; scan > 0 && freed < count; scan--) {
      const folio = this.#lruTail;
      if (folio === undefined) break;
      // Whatever becomes of it, it goes to the other end: the next scan starts elsewhere.
      this.lru_del(folio);
      this.lru_add(folio);
      if (folio.referenced || folio.active) {
        folio.referenced = false;
        folio.active = false;
        continue;
      }
      const dropped = this.#drop(task, folio);
      if (dropped instanceof Promise) return this.#reclaimSlow(task, count, freed, dropped);
      if (dropped) freed++;
    }
    return freed;
  }

  async #reclaimSlow(task: Task, count: number, freed: number, dropping: Promise<boolean>): Promise<number> {
    const now = freed + ((await dropping) ? 1 : 0);
    return now < count ? now + (await this.reclaim(task, count - now)) : now;
  }

  /** Take a folio out of its cache if it is clean and only the cache has it. */
  #drop(task: Task, folio: Folio): Awaitable<boolean> {
    if (folio.dirty || folio.writeback.isSet || folio.refcount > 1) return false;
    const held = folio.lock.tryLock(task);
    if (held === undefined) return false;
    const finish = (released: boolean): boolean => {
      const gone = released && remove_mapping(task, folio);
      held.release();
      return gone;
    };
    const ops = folio.mapping?.a_ops;
    if (folio.private === undefined) return finish(true);
    try {
      const released = call<boolean>(
        task,
        address_space_operations.release_folio,
        { folio: folio.lock },
        () => ops?.release_folio?.(task, folio, 'GFP_NOFS') ?? false,
      );
      if (!(released instanceof Promise)) return finish(released);
      return released.then(finish, (error: unknown) => {
        finish(false);
        throw error;
      });
    } catch (error) {
      finish(false);
      throw error;
    }
  }

  /** Put a folio at the young end of the list that reclaim scans (folio_add_lru). */
  lru_add(folio: Folio): void {
    folio.lru_next = this.#lruHead;
    folio.lru_prev = undefined;
    if (this.#lruHead === undefined) this.#lruTail = folio;
    else this.#lruHead.lru_prev = folio;
    this.#lruHead = folio;
    this.#lruLength++;
  }

  lru_del(folio: Folio): void {
    if (folio.lru_prev === undefined) this.#lruHead = folio.lru_next;
    else folio.lru_prev.lru_next = folio.lru_next;
    if (folio.lru_next === undefined) this.#lruTail = folio.lru_prev;
    else folio.lru_next.lru_prev = folio.lru_prev;
    folio.lru_prev = undefined;
    folio.lru_next = undefined;
    this.#lruLength--;
  }
}
