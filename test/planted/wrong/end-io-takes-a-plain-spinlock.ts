/** A spinlock is taken by the completion of a write, and by others without keeping completions away (spin_lock for spin_lock_irqsave). */

import { SpinLock } from '../../../src/locking/spinlock.js';
import type { Folio } from '../../../src/mm/folio.js';
import { folio_end_writeback, folio_start_writeback, folio_unlock } from '../../../src/mm/folio-state.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';
import { submit_write } from '../plain-file.js';

const list = new SpinLock('j_state_lock');

function writepage(task: Task, folio: Folio): void {
  list.lock(task).release();
  folio_start_writeback(task, folio);
  folio_unlock(task, folio);
  submit_write(task, folio, function end_io(completion, folio, error) {
    list.lock(completion).release();
    folio_end_writeback(completion, folio, error);
  });
}

export const planted: Planted = {
  bug: 'a spinlock of a completion is taken elsewhere with completions on',
  changes: { aops: { writepage } },
  provoke: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.from('x'));
    await sys.fsync(fd);
  },
  reports: [{ kind: 'lock-usage', rule: 'lockdep#inconsistent-usage', held: [], at: 'end_io' }],
};
