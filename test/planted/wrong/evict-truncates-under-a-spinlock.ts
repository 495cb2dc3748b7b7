/** evict_inode truncates the pages of an inode with i_lock held, although that may wait. */

import type { Inode } from '../../../src/fs/inode.js';
import { truncate_inode_pages_final } from '../../../src/mm/truncate.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';

async function evict_inode(task: Task, inode: Inode): Promise<void> {
  using _lock = inode.i_lock.lock(task);
  await truncate_inode_pages_final(task, inode.i_mapping);
}

export const planted: Planted = {
  bug: 'evict_inode sleeps with i_lock held',
  changes: { super: { evict_inode } },
  provoke: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.from('x'));
    await sys.close(fd);
    await sys.unlink('/f');
  },
  reports: [
    {
      kind: 'sleep-in-atomic',
      rule: 'spinlock#holder-may-not-sleep',
      op: 'super_operations.evict_inode',
      held: ['s_writers (read)', 'i_lock (write)'],
      at: 'evict_inode',
    },
  ],
};
