/** fallocate locks the inode and returns for a mode that it has not, without unlocking. */

import type { File } from '../../../src/fs/file.js';
import { errno } from '../../../src/sched/errno.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import { outcome, type Planted } from '../harness.js';

async function fallocate(task: Task, file: File, mode: number): Promise<void> {
  const held = await file.f_inode.i_rwsem.write(task);
  if (mode !== 0) throw errno('EOPNOTSUPP');
  held.release();
}

export const planted: Planted = {
  bug: 'fallocate leaks i_rwsem on an error path',
  changes: { fops: { fallocate } },
  provoke: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.fallocate(fd, 0, 0, 4096);
    await outcome(sys.fallocate(fd, 3, 0, 4096));
  },
  reports: [
    {
      kind: 'leaked-by-operation',
      rule: 'file_operations.fallocate#leaves-no-lock',
      op: 'file_operations.fallocate',
      held: ['s_writers (read)', 'i_rwsem (write)'],
      at: 'fallocate',
    },
  ],
};
