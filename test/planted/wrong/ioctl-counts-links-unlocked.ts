/** An ioctl that gives a file one more name does not lock the file. */

import type { File } from '../../../src/fs/file.js';
import { drop_nlink, inc_nlink } from '../../../src/fs/nlink.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';

function unlocked_ioctl(task: Task, { f_inode: inode }: File): number {
  inc_nlink(task, inode);
  drop_nlink(task, inode);
  return 0;
}

export const planted: Planted = {
  bug: 'the links of a file are counted without i_rwsem',
  changes: { fops: { unlocked_ioctl } },
  provoke: async ({ sys }) => {
    await sys.ioctl(await sys.open('/f', O_CREAT | O_RDWR, 0o644), 0x7803);
  },
  reports: [
    {
      kind: 'guarded-state',
      rule: 'guarded#inode.i_nlink',
      op: 'file_operations.unlocked_ioctl',
      held: [],
      at: 'unlocked_ioctl',
    },
  ],
};
