/** fsync locks the inode and calls a helper that locks it, too. */

import type { File } from '../../../src/fs/file.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import { outcome, type Planted } from '../harness.js';

async function fsync(task: Task, file: File): Promise<void> {
  using _inode = await file.f_inode.i_rwsem.write(task);
  await sync_metadata(task, file);
}

async function sync_metadata(task: Task, file: File): Promise<void> {
  using _inode = await file.f_inode.i_rwsem.write(task);
}

export const planted: Planted = {
  bug: 'fsync takes i_rwsem twice',
  changes: { fops: { fsync } },
  provoke: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await outcome(sys.fsync(fd));
  },
  reports: [
    {
      kind: 'double-lock',
      rule: 'lock#not-taken-twice',
      op: 'file_operations.fsync',
      held: ['i_rwsem (write)'],
      at: 'sync_metadata',
    },
  ],
};
