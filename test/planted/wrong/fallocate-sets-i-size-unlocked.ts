/** fallocate beyond the end of the file sets i_size without i_rwsem. */

import type { File } from '../../../src/fs/file.js';
import { i_size_write } from '../../../src/fs/inode.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';

function fallocate(task: Task, file: File, _mode: number, offset: number, length: number): void {
  i_size_write(task, file.f_inode, offset + length);
}

export const planted: Planted = {
  bug: 'fallocate sets i_size without i_rwsem',
  changes: { fops: { fallocate } },
  provoke: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.fallocate(fd, 0, 0, 4096);
  },
  reports: [
    {
      kind: 'guarded-state',
      rule: 'guarded#inode.i_size',
      op: 'file_operations.fallocate',
      held: ['s_writers (read)'],
      at: 'fallocate',
    },
  ],
};
