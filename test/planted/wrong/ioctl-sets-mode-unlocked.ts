/** An ioctl makes a file readable by all without locking it. */

import type { File } from '../../../src/fs/file.js';
import { inode_attrs, inode_init } from '../../../src/fs/inode.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';

function unlocked_ioctl(task: Task, { f_inode: inode }: File): number {
  inode_attrs(task, inode).i_mode |= 0o444;
  // Nor does it help to say that it is new.
  inode_init(inode).i_mode |= 0o444;
  return 0;
}

export const planted: Planted = {
  bug: 'the mode of a file is set without i_rwsem',
  changes: { fops: { unlocked_ioctl } },
  provoke: async ({ sys }) => {
    await sys.ioctl(await sys.open('/f', O_CREAT | O_RDWR, 0o600), 0x7808);
  },
  reports: [
    {
      kind: 'guarded-state',
      rule: 'guarded#inode attributes',
      op: 'file_operations.unlocked_ioctl',
      held: [],
      at: 'unlocked_ioctl',
    },
    { kind: 'guarded-state', rule: 'guarded#inode attributes', held: [], at: 'unlocked_ioctl' },
  ],
};
