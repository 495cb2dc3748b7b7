/** The filesystem writes its inodes in write_inode, and fdatasync writes nothing but the pages: the new size is not on the device. */

import type { File } from '../../../src/fs/file.js';
import { I_DIRTY_DATASYNC } from '../../../src/fs/inode.js';
import { mark_inode_dirty } from '../../../src/fs/inode-dirty.js';
import { file_write_and_wait_range } from '../../../src/mm/filemap-wait.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';

async function unlocked_ioctl(task: Task, { f_inode: inode }: File): Promise<number> {
  await mark_inode_dirty(task, inode, I_DIRTY_DATASYNC);
  return 0;
}

function fsync(task: Task, file: File, start: number, end: number): Promise<void> {
  return file_write_and_wait_range(task, file, start, end);
}

export const planted: Planted = {
  bug: 'fdatasync leaves the inode dirty',
  changes: { fops: { fsync, unlocked_ioctl }, super: { write_inode: () => undefined } },
  provoke: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.ioctl(fd, 0x7807);
    await sys.fdatasync(fd);
  },
  reports: [
    {
      kind: 'promise',
      rule: 'sync#writes-the-inode',
      op: 'file_operations.fsync',
      held: [],
      at: 'fsync',
    },
  ],
};
