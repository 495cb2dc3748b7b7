/** The completion of a write takes a mutex, to count what was written. */

import type { Held } from '../../../src/locking/held.js';
import { Mutex } from '../../../src/locking/mutex.js';
import type { Folio } from '../../../src/mm/folio.js';
import { folio_end_writeback, folio_start_writeback, folio_unlock } from '../../../src/mm/folio-state.js';
import type { Errno } from '../../../src/sched/errno.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';
import { submit_write } from '../plain-file.js';

const counts = new Mutex('alloc_lock');

function end_io(task: Task, folio: Folio, error: Errno | undefined): void {
  const held = counts.lock(task) as Held<'alloc_lock', 'write'>;
  held.release();
  folio_end_writeback(task, folio, error);
}

function writepage(task: Task, folio: Folio): void {
  folio_start_writeback(task, folio);
  folio_unlock(task, folio);
  submit_write(task, folio, end_io);
}

export const planted: Planted = {
  bug: 'the completion of a write takes a mutex',
  changes: { aops: { writepage } },
  provoke: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.from('x'));
    await sys.fsync(fd);
  },
  reports: [{ kind: 'sleep-in-atomic', rule: 'completion#may-not-block', held: [], at: 'end_io' }],
};
