/** An ioctl that sets a flag in the mode calls setattr itself, without i_rwsem. */

import { inode_operations } from '../../../src/contract/inode.js';
import type { File } from '../../../src/fs/file.js';
import { call } from '../../../src/locking/context.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';

async function unlocked_ioctl(task: Task, file: File): Promise<number> {
  const { f_inode: inode, f_dentry: dentry } = file;
  await call(task, inode_operations.setattr, { inode: inode.i_rwsem }, () =>
    inode.i_op.setattr?.(task, dentry, { mode: 0o600 }),
  );
  return 0;
}

export const planted: Planted = {
  bug: 'setattr is reached without i_rwsem',
  changes: { fops: { unlocked_ioctl } },
  provoke: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.ioctl(fd, 0x7802);
  },
  reports: [
    {
      kind: 'lock-not-held',
      rule: 'inode_operations.setattr/i_rwsem/inode',
      op: 'inode_operations.setattr',
      held: [],
      at: 'unlocked_ioctl',
    },
    {
      kind: 'guarded-state',
      rule: 'guarded#inode attributes',
      op: 'inode_operations.setattr',
      held: [],
      at: 'unlocked_ioctl',
    },
  ],
};
