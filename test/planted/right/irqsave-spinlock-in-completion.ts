/** A spinlock is taken by the completion of a write; everybody else keeps completions away while holding it (spin_lock_irqsave). */

import { SpinLock } from '../../../src/locking/spinlock.js';
import { type Folio, PAGE_SIZE } from '../../../src/mm/folio.js';
import { folio_end_writeback, folio_start_writeback, folio_unlock } from '../../../src/mm/folio-state.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Unusual } from '../harness.js';
import { submit_write } from '../plain-file.js';

const list = new SpinLock('j_state_lock');
let begun = 0;
let ended = 0;

function writepage(task: Task, folio: Folio): void {
  const held = list.lockIrq(task);
  begun++;
  held.release();
  folio_start_writeback(task, folio);
  folio_unlock(task, folio);
  submit_write(task, folio, (completion, folio, error) => {
    using _list = list.lock(completion);
    ended++;
    folio_end_writeback(completion, folio, error);
  });
}

export const unusual: Unusual = {
  what: 'a spinlock of a completion is taken elsewhere with completions off',
  changes: { aops: { writepage } },
  use: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.alloc(2 * PAGE_SIZE, 1));
    await sys.fsync(fd);
    return begun === 2 && ended === 2;
  },
};
