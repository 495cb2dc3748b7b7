/** An ioctl of a directory locks it and then the directory that it is in, as on the way up: rmdir and rename come down. */

import type { File } from '../../../src/fs/file.js';
import { I_MUTEX_CHILD, I_MUTEX_PARENT } from '../../../src/fs/inode.js';
import type { Task } from '../../../src/sched/task.js';
import { O_DIRECTORY } from '../../../src/uapi/fcntl.js';
import { outcome, type Planted } from '../harness.js';

async function unlocked_ioctl(task: Task, file: File): Promise<number> {
  const above = file.f_dentry.d_parent.d_inode;
  using _dir = await file.f_inode.i_rwsem.write(task, I_MUTEX_PARENT);
  using _above = await above?.i_rwsem.write(task, I_MUTEX_CHILD);
  return 0;
}

export const planted: Planted = {
  bug: 'a directory is locked before its parent, on nesting levels that say the contrary',
  changes: { dirFops: { unlocked_ioctl } },
  provoke: async ({ sys }) => {
    await sys.mkdir('/d', 0o755);
    await outcome(sys.ioctl(await sys.open('/d', O_DIRECTORY), 0x7803, Buffer.alloc(0)));
  },
  reports: [
    {
      kind: 'lock-order',
      rule: 'directory-locking#ancestor-first',
      op: 'file_operations.unlocked_ioctl',
      held: ['i_rwsem (write)'],
      at: 'unlocked_ioctl',
    },
  ],
};
