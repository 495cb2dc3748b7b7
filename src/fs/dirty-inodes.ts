/** How fast inodes may be dirtied. In Linux reclaim finds that there are too many; here they would fill the heap before the flusher has its turn. */

import type { Awaitable } from '../sched/awaitable.js';
import { isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { sleep_on_timeout } from '../sched/wait.js';
import type { SuperBlock } from './super-block.js';

/** Milliseconds that a writer sleeps at most before it looks again (MAX_PAUSE of mm/page-writeback.c). */
const MAX_PAUSE = 200;
/** After so many looks it goes on all the same: a device that does not answer is not to stop everybody who changes something. */
const MAX_LOOKS = 10;

/**
 * To be called by whoever is about to change something, before it holds anything: wait while twice as many inodes are dirty as may be. At once for who holds
 * a lock or has a handle open, because the flusher may need that. A fatal signal ends the wait, and the change goes on.
 */
export function balance_dirty_inodes(task: Task, sb: SuperBlock): Awaitable<void> {
  if (!sb.s_wb.crowded || task.held.length > 0 || task.journal_info !== undefined || task.atomic > 0) return undefined;
  return pause(task, sb);
}

async function pause(task: Task, { s_wb: wb }: SuperBlock): Promise<void> {
  for (let looks = 0; wb.crowded && looks < MAX_LOOKS; looks++) {
    wb.onMany?.();
    try {
      await sleep_on_timeout(task, wb.lessCrowded, MAX_PAUSE, { what: 'too many dirty inodes', killable: true });
    } catch (error) {
      if (isErrno(error, 'EINTR')) return;
      throw error;
    }
  }
}
