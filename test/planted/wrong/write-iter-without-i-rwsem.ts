/** write_iter of a filesystem with its own locking calls generic_perform_write, and its own lock is not i_rwsem. */

import { generic_perform_write } from '../../../src/mm/filemap-write.js';
import type { IovIter } from '../../../src/mm/iov-iter.js';
import type { Kiocb } from '../../../src/mm/operations.js';
import type { Awaitable } from '../../../src/sched/awaitable.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import { outcome, type Planted } from '../harness.js';

function write_iter(task: Task, iocb: Kiocb, iter: IovIter): Awaitable<number> {
  return generic_perform_write(task, iocb, iter);
}

export const planted: Planted = {
  bug: 'write_iter writes without i_rwsem',
  changes: { fops: { write_iter } },
  provoke: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await outcome(sys.write(fd, Buffer.from('x')));
  },
  reports: [
    {
      kind: 'lock-not-held',
      rule: 'address_space_operations.write_begin/i_rwsem/inode',
      op: 'address_space_operations.write_begin',
      held: ['f_pos_lock (write)', 's_writers (read)'],
      at: 'write_iter',
    },
    {
      kind: 'lock-not-held',
      rule: 'address_space_operations.write_end/i_rwsem/inode',
      op: 'address_space_operations.write_end',
      held: ['f_pos_lock (write)', 's_writers (read)', 'folio (write)'],
      at: 'write_iter',
    },
    {
      kind: 'guarded-state',
      rule: 'guarded#inode.i_size',
      op: 'address_space_operations.write_end',
      held: ['f_pos_lock (write)', 's_writers (read)', 'folio (write)'],
      at: 'write_iter',
    },
  ],
};
