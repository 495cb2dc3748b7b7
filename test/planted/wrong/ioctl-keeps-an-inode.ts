/** An ioctl takes a reference to an inode for a list of its own, and never gives it back: it is in use when the filesystem goes away. */

import type { File } from '../../../src/fs/file.js';
import { ihold } from '../../../src/fs/icache.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';

function unlocked_ioctl(_task: Task, { f_inode: inode }: File): number {
  ihold(inode);
  return 0;
}

export const planted: Planted = {
  bug: 'a reference to an inode is never given back',
  changes: { fops: { unlocked_ioctl } },
  provoke: async ({ sys }) => {
    await sys.ioctl(await sys.open('/f', O_CREAT | O_RDWR, 0o644), 0x780b);
  },
  reports: [
    {
      kind: 'guarded-state',
      rule: 'inode#given-back-before-the-unmount',
      op: 'file_system_type.kill_sb',
      held: ['s_umount (write)'],
      at: '',
    },
  ],
};
