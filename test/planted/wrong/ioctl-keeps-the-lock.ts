/** An ioctl returns with the file locked. Who waits for it goes on when the system call has ended and told of it. */

import type { File } from '../../../src/fs/file.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';

async function keep(task: Task, file: File): Promise<number> {
  await file.f_inode.i_rwsem.write(task);
  return 0;
}

export const planted: Planted = {
  bug: 'an ioctl leaks i_rwsem, and others want it',
  changes: { fops: { unlocked_ioctl: keep } },
  provoke: async ({ sys, other }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await Promise.all([sys.ioctl(fd, 0x7806), other.chmod('/f', 0o600), other.truncate('/f', 1)]);
    await sys.unlink('/f');
  },
  reports: [
    {
      kind: 'leaked-by-operation',
      rule: 'file_operations.unlocked_ioctl#leaves-no-lock',
      op: 'file_operations.unlocked_ioctl',
      held: ['i_rwsem (write)'],
      at: 'keep',
    },
  ],
};
