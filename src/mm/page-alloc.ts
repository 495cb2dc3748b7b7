/** Where folios come from: the pool while there is room, reclaim at once where clean folios are at hand, waiting for reclaim's own task otherwise. */

import { fs_reclaim } from '../locking/lock-map.js';
import type { Awaitable } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { might_sleep, schedule_timeout, sleep_on_timeout } from '../sched/wait.js';
import type { AddressSpace } from './address-space.js';
import { Folio } from './folio.js';
import type { MemoryControl } from './memory.js';
import { reclaim_clean, wakeup_kswapd } from './vmscan.js';

/** Fruitless passes of reclaim after which there is no memory. */
const MAX_RECLAIM_RETRIES = 8;
/** Milliseconds to wait for one pass: it may itself wait for I/O. */
const PASS_TIMEOUT = 1_000;
/** Part of the limit by which those may exceed it who cannot wait for the filesystem, because they are inside it. */
const RESERVE = 1 / 8;

/**
 * A new folio for page `index`, neither locked nor in the cache, its bytes undefined (filemap_alloc_folio). At once unless memory is
 * short and nothing clean is at hand.
 * @throws ENOMEM where nothing can be freed
 */
export function folio_alloc(task: Task, mapping: AddressSpace, index: number): Awaitable<Folio> {
  const { memory } = mapping;
  // Whether or not memory is short now: the next time it may be.
  if (task.atomic > 0) might_sleep(task, 'page allocation');
  if (!may_not_enter_fs(task, mapping)) fs_reclaim.might(task);
  return alloc_now(task, memory, mapping, index) ?? allocSlow(task, memory, mapping, index);
}

/** A new folio if there is one without a wait: for readahead, which nobody needs. */
export function folio_alloc_nowait(task: Task, mapping: AddressSpace, index: number): Folio | undefined {
  return alloc_now(task, mapping.memory, mapping, index);
}

/**
 * A new page of anonymous memory, its bytes undefined (vma_alloc_folio).
 * @param index the page of the address
 * @throws ENOMEM where nothing can be freed
 */
export function vma_alloc_folio(task: Task, memory: MemoryControl, index: number): Awaitable<Folio> {
  if (task.atomic > 0) might_sleep(task, 'page allocation');
  return alloc_now(task, memory, undefined, index) ?? allocSlow(task, memory, undefined, index);
}

function alloc_now(
  task: Task,
  memory: MemoryControl,
  mapping: AddressSpace | undefined,
  index: number,
): Folio | undefined {
  const { limit, pool } = memory;
  if (pool.used >= limit - (limit >> 5)) {
    wakeup_kswapd(memory);
    if (pool.used >= limit && reclaim_clean(task, memory) === 0) return undefined;
  }
  return new Folio(memory, mapping, index);
}

async function allocSlow(
  task: Task,
  memory: MemoryControl,
  mapping: AddressSpace | undefined,
  index: number,
): Promise<Folio> {
  if (may_not_enter_fs(task, mapping)) {
    // Reclaim may need what this task holds: an open transaction, a spinlock. It takes from the reserve instead.
    if (memory.pool.used < memory.limit * (1 + RESERVE) + 8) return new Folio(memory, mapping, index);
    throw errno('ENOMEM');
  }
  let fruitless = 0;
  while (fruitless < MAX_RECLAIM_RETRIES) {
    const folio = alloc_now(task, memory, mapping, index);
    if (folio !== undefined) return folio;
    const before = progress(memory);
    wakeup_kswapd(memory);
    await sleep_on_timeout(task, memory.reclaimWaiters, PASS_TIMEOUT, { what: 'memory' });
    if (progress(memory) !== before) {
      fruitless = 0;
      continue;
    }
    // Pages may be in use only for a moment: by replies that are being sent, say.
    fruitless++;
    await schedule_timeout(task, fruitless, 'memory');
  }
  throw errno('ENOMEM');
}

/** What grows when reclaim gets anywhere: pages freed, or writes that ended and will let it free some. */
function progress(memory: MemoryControl): number {
  let written = 0;
  for (const bdi of memory.bdis) written += bdi.nr_written;
  return memory.nr_reclaimed + written;
}

/** GFP_NOFS: asked for by the mapping, or by the task's state (an open transaction: memalloc_nofs_save). */
function may_not_enter_fs(task: Task, mapping: AddressSpace | undefined): boolean {
  return (mapping !== undefined && mapping.gfp !== 'GFP_KERNEL') || task.journal_info !== undefined || task.atomic > 0;
}
