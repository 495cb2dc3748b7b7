/** An ioctl turns the filesystem read-only without s_umount: a remount under way does not notice. */

import type { File } from '../../../src/fs/file.js';
import { SB_RDONLY, sb_set_flags } from '../../../src/fs/super-block.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';

function unlocked_ioctl(task: Task, { f_inode: inode }: File): number {
  const { i_sb: sb } = inode;
  sb_set_flags(task, sb, sb.s_flags | SB_RDONLY);
  return 0;
}

export const planted: Planted = {
  bug: 's_flags is changed without s_umount',
  changes: { fops: { unlocked_ioctl } },
  provoke: async ({ sys }) => {
    await sys.ioctl(await sys.open('/f', O_CREAT | O_RDWR, 0o600), 0x7809);
  },
  reports: [
    {
      kind: 'guarded-state',
      rule: 'guarded#super_block.s_flags',
      op: 'file_operations.unlocked_ioctl',
      held: [],
      at: 'unlocked_ioctl',
    },
  ],
};
