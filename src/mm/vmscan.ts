/**
 * Reclaim: which folios go when memory is short (mm/vmscan.c). Clean folios go at once, in whose task ever needs memory; dirty
 * ones are written by a task of reclaim's own, which holds no lock of anybody's system call.
 */

import { address_space_operations } from '../contract/address-space.js';
import { call } from '../locking/context.js';
import { fs_reclaim } from '../locking/lock-map.js';
import { Task } from '../sched/task.js';
import { sleep_on_timeout } from '../sched/wait.js';
import { filemap_release_folio, filemap_release_folio_nowait, filemap_remove_folio } from './filemap-tree.js';
import { type Folio, folio_get, folio_put } from './folio.js';
import { folio_clear_dirty_for_io } from './folio-clean.js';
import { folio_locked_by, folio_trylock, folio_unlock, folio_violation } from './folio-state.js';
import { folio_activate, type LruList, lru_move_head } from './lru.js';
import type { MemoryControl, Shrinker } from './memory.js';
import { WRITEPAGE_ACTIVATE, type WritebackControl } from './operations.js';
import type { WritepageFn } from './page-writeback.js';
import { try_to_unmap } from './rmap.js';
import { shrink_anon } from './swap-reclaim.js';
import { do_writepage } from './writepage-check.js';

/** Pages to free in one go. */
const SWAP_CLUSTER_MAX = 32;
/** Folios to look at, at most, before an allocation gives up on clean ones. */
const SCAN_NOW = 256;
/** Scan pressure: a pass at priority p looks at the list's length divided by 2^p. */
const DEF_PRIORITY = 4;
/** Other caches are asked for a smaller share than pages: 2^-12 of their objects at first. */
const SLAB_PRIORITY = 3;
/** Milliseconds that a pass waits for a write that is under way, where nothing else helps. */
const CONGESTION_WAIT = 100;

/** A new task for reclaim. */
function reclaimTask(memory: MemoryControl): Task {
  return new Task(memory.sched, memory.validator, { comm: 'kswapd' });
}

/** Age the active list: its oldest folios become candidates once they are more than half of all (shrink_active_list). */
function balance_lists(memory: MemoryControl): void {
  const { active, inactive } = memory;
  for (let moved = 0; moved < 2 * SWAP_CLUSTER_MAX && active.count > inactive.count; moved++) {
    const folio = active.tail;
    if (folio === undefined) return;
    folio.active = false;
    folio.referenced = false;
    lru_move_head(folio, inactive);
  }
}

/** True where a folio that is on a list could be taken out of the cache by us now: nobody uses it, nothing is lost. */
function isFreeable(folio: Folio): boolean {
  return (
    folio.refcount === 1 && folio.mapping !== undefined && !folio.dirty && !folio.writeback.isSet && !folio.lock.locked
  );
}

/**
 * Free clean folios without a wait (direct reclaim).
 * @param want pages to free
 * @returns pages freed, 0 where none was at hand
 */
export function reclaim_clean(task: Task, memory: MemoryControl, want = SWAP_CLUSTER_MAX): number {
  balance_lists(memory);
  let freed = 0;
  for (let left = Math.min(SCAN_NOW, memory.inactive.count); left > 0 && freed < want; left--) {
    const folio = memory.inactive.tail;
    if (folio === undefined) break;
    if (isFreeable(folio) && freeNow(task, folio)) freed++;
    else if (folio.lru === memory.inactive) lru_move_head(folio, memory.inactive);
  }
  memory.nr_reclaimed += freed;
  return freed;
}

function freeNow(task: Task, folio: Folio): boolean {
  if (!folio_trylock(task, folio)) return false;
  folio_get(folio);
  try {
    if (!filemap_release_folio_nowait(task, folio) || folio.dirty) return false;
    filemap_remove_folio(task, folio);
    return true;
  } finally {
    folio_unlock(task, folio);
    folio_put(folio);
  }
}

/** Start reclaim's own task unless it runs; it works until there is room again, or nothing helps (wakeup_kswapd). */
export function wakeup_kswapd(memory: MemoryControl): void {
  if (memory.kswapdRunning) return;
  memory.kswapdRunning = true;
  const task = reclaimTask(memory);
  const run = memory.sched.run(async () => {
    // Not within the stack of the allocation that woke us.
    await memory.sched.yield();
    try {
      await kswapd(task, memory);
    } finally {
      memory.kswapdRunning = false;
      memory.reclaimWaiters.wake_all();
    }
  });
  if (run instanceof Promise) {
    run.catch((error: unknown) => {
      memory.validator.violation(task, 'promise', {
        message: `reclaim failed: ${String(error)}`,
        rule: 'task#fails-in-no-background',
      });
    });
  }
}

async function kswapd(task: Task, memory: MemoryControl): Promise<void> {
  const high = memory.limit - (memory.limit >> 4) - 1;
  let priority = DEF_PRIORITY;
  while (memory.nr_pages > high && priority >= 0) {
    const goal = Math.max(SWAP_CLUSTER_MAX, memory.nr_pages - high);
    // What is taken in here may be waited for by whoever allocates: nobody may allocate who holds it.
    const inside = fs_reclaim.enter(task);
    let freed: number;
    try {
      freed = await shrink_node(task, memory, goal, priority);
    } finally {
      inside.release();
    }
    if (freed > 0) priority = DEF_PRIORITY;
    else priority--;
    memory.reclaimWaiters.wake_all();
    await memory.sched.yield();
  }
}

/**
 * One pass over pages and the other caches (shrink_node). Waits for I/O only where nothing could be freed and some is under way.
 * @returns pages freed
 */
export async function shrink_node(task: Task, memory: MemoryControl, goal: number, priority: number): Promise<number> {
  balance_lists(memory);
  const total = memory.inactive.count;
  const scan = Math.max(SWAP_CLUSTER_MAX, total >> priority);
  const { freed, waitFor } = await shrink_inactive_list(task, memory, scan, goal);
  memory.nr_reclaimed += freed;
  await shrink_slab(task, memory, priority * SLAB_PRIORITY);
  if (freed === 0 && priority < DEF_PRIORITY) await congestion_wait(task, memory, waitFor);
  if (waitFor !== undefined) folio_put(waitFor);
  return freed;
}

/** Shares of objects that were too small to be asked for, until they add up (nr_deferred). */
const deferred = new WeakMap<Shrinker, number>();

/**
 * Ask every registered cache for its share: 2^-priority of what it could free (shrink_slab).
 * @param priority 12 for light pressure, as with pages that are read once; 0 to free everything
 * @returns objects freed
 */
export async function shrink_slab(task: Task, memory: MemoryControl, priority: number): Promise<number> {
  let freed = 0;
  for (const shrinker of memory.shrinkers) {
    const count = shrinker.count();
    const share = (deferred.get(shrinker) ?? 0) + (2 * count) / 2 ** priority;
    const nr = Math.min(count, Math.floor(share));
    deferred.set(shrinker, nr === count ? 0 : share - nr);
    if (nr > 0) freed += await shrinker.scan(task, nr);
  }
  return freed;
}

interface Shrunk {
  readonly freed: number;
  /** A folio under writeback that stood in the way, with a reference. */
  readonly waitFor: Folio | undefined;
}

async function shrink_inactive_list(task: Task, memory: MemoryControl, scan: number, goal: number): Promise<Shrunk> {
  const { inactive } = memory;
  let freed = 0;
  let waitFor: Folio | undefined;
  for (let left = Math.min(scan, inactive.count); left > 0 && freed < goal; left--) {
    const folio = inactive.tail;
    if (folio === undefined) break;
    // It leaves the end of the list before anything can wait, so that the scan goes on whatever becomes of it.
    lru_move_head(folio, inactive);
    if (folio.writeback.isSet) {
      folio.reclaim = true;
      if (waitFor === undefined) {
        waitFor = folio;
        folio_get(folio);
      }
      continue;
    }
    if (folio.refcount > own_references(folio) || !folio_trylock(task, folio)) continue;
    folio_get(folio);
    try {
      if (await shrink_folio(task, folio, inactive)) freed++;
    } finally {
      if (folio_locked_by(task, folio)) folio_unlock(task, folio);
      folio_put(folio);
    }
  }
  return { freed, waitFor };
}

/** References that a folio has of the page cache or the swap cache, and of the page tables that map it. */
function own_references(folio: Folio): number {
  return folio.mapcount + (folio.mapping === undefined && folio.swap === undefined ? 0 : 1);
}

/** What becomes of one locked folio (the body of shrink_folio_list). @returns whether it was freed */
async function shrink_folio(task: Task, folio: Folio, inactive: LruList): Promise<boolean> {
  if (folio.poisoned) return false;
  if (folio.mapping === undefined) return shrink_anon(task, folio);
  if (folio.mapcount > 0) {
    // A page in use through page tables stays for one more round.
    if (folio.referenced) {
      folio.referenced = false;
      return false;
    }
    if (!try_to_unmap(task, folio, 'nothing')) return false;
  }
  if (folio.dirty) {
    if (folio.referenced) {
      folio.referenced = false;
      return false;
    }
    if (!(await pageout(task, folio))) return false;
    // A device that answers at once leaves it clean: it can go now.
    if (folio.dirty || folio.writeback.isSet || folio.lru !== inactive || !folio_trylock(task, folio)) return false;
  }
  if (!(await filemap_release_folio(task, folio, 'GFP_KERNEL'))) return false;
  // Two references: the cache's and ours. Anybody else who has one came while we waited.
  if (folio.refcount > 2 || folio.dirty || folio.writeback.isSet || folio.mapping === undefined) return false;
  filemap_remove_folio(task, folio);
  return true;
}

/**
 * Write one locked dirty folio for memory's sake (pageout). WRITEPAGE_ACTIVATE moves it to the head of the active list, where no scan
 * finds it for some time.
 * @returns whether it is on its way; it is unlocked then
 */
async function pageout(task: Task, folio: Folio): Promise<boolean> {
  const { mapping, memory } = folio;
  const writepage = mapping?.a_ops.writepage;
  if (mapping === undefined || writepage === undefined) {
    memory.wakeFlushers('vmscan');
    return false;
  }
  if (folio.active) {
    folio_violation(
      task,
      'writepage is called for reclaim on a page that was put aside',
      'address_space_operations.writepage#activate-stops-further-calls',
    );
  }
  if (!folio_clear_dirty_for_io(task, folio)) return false;
  const wbc: WritebackControl = {
    sync_mode: 'WBC_SYNC_NONE',
    nr_to_write: SWAP_CLUSTER_MAX,
    range_start: 0,
    range_end: Number.POSITIVE_INFINITY,
    for_reclaim: true,
    pages_skipped: 0,
  };
  folio.reclaim = true;
  try {
    const one: WritepageFn = (task, folio, wbc) =>
      call(task, address_space_operations.writepage, { folio: folio.lock }, () => writepage(task, folio, wbc));
    const result = await do_writepage(task, folio, wbc, one, true);
    if (!folio.writeback.isSet) folio.reclaim = false;
    if (result === WRITEPAGE_ACTIVATE) {
      folio_activate(folio);
      return false;
    }
  } catch {
    // The error is the mapping's, for those who have the file open.
    folio.reclaim = false;
    return false;
  }
  return !folio.dirty;
}

/** Nothing could be freed: wait for a write that is under way, or give the flushers some time. */
async function congestion_wait(task: Task, memory: MemoryControl, folio: Folio | undefined): Promise<void> {
  if (folio !== undefined) {
    await folio.writeback.wait(task);
  } else if (memory.nr_dirty > 0 || memory.nr_writeback > 0) {
    memory.wakeFlushers('vmscan');
    await sleep_on_timeout(task, memory.dirtyWaiters, CONGESTION_WAIT, { what: 'reclaim' });
  }
}
