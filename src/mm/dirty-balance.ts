/** How fast writers may go: above the background limit the flusher is woken, above the limit they wait until enough is written (balance_dirty_pages). */

import type { Awaitable } from '../sched/awaitable.js';
import { isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { sleep_on_timeout } from '../sched/wait.js';
import type { AddressSpace } from './address-space.js';
import { do_writepages } from './page-writeback.js';

/** Milliseconds that a writer sleeps at most before it looks again (MAX_PAUSE). */
const MAX_PAUSE = 200;
/** Pages that a writer without a flusher writes of its own file before it looks again. */
const WRITE_CHUNK = 1_024;

/**
 * To be called by whoever is about to dirty pages of `mapping`, before it locks any (balance_dirty_pages_ratelimited). At once below
 * the limit. A fatal signal ends the wait, and it is the caller who looks for that.
 */
export function balance_dirty_pages_ratelimited(task: Task, mapping: AddressSpace): Awaitable<void> {
  const { memory } = mapping;
  if (memory.nr_dirty <= memory.bg_thresh) return undefined;
  memory.wakeFlushers('background');
  if (memory.nr_dirty + memory.nr_writeback <= memory.dirty_thresh) return undefined;
  // Inside a transaction or a spinlock nobody may be waited for who needs it to end.
  if (task.atomic > 0 || task.journal_info !== undefined) return undefined;
  return balance_dirty_pages(task, mapping);
}

async function balance_dirty_pages(task: Task, mapping: AddressSpace): Promise<void> {
  const { memory } = mapping;
  while (memory.nr_dirty + memory.nr_writeback > memory.dirty_thresh) {
    if (mapping.host.i_bdi?.hasFlusher !== true && mapping.i_pages.marked('dirty')) {
      await do_writepages(task, mapping, {
        sync_mode: 'WBC_SYNC_NONE',
        nr_to_write: WRITE_CHUNK,
        range_start: 0,
        range_end: Number.POSITIVE_INFINITY,
        range_cyclic: true,
        pages_skipped: 0,
      });
      if (memory.nr_dirty + memory.nr_writeback <= memory.dirty_thresh) return;
    }
    memory.wakeFlushers('background');
    try {
      await sleep_on_timeout(task, memory.dirtyWaiters, MAX_PAUSE, { what: 'dirty limit', killable: true });
    } catch (error) {
      if (isErrno(error, 'EINTR')) return;
      throw error;
    }
  }
}
