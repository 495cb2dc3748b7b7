/** fallocate frees the blocks of a hole under i_rwsem alone: a fault could bring their old contents back, and reads still find them in the cache. */

import type { File } from '../../../src/fs/file.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';

async function fallocate(task: Task, file: File): Promise<void> {
  using _inode = await file.f_inode.i_rwsem.write(task);
  await task.sched.yield();
}

export const planted: Planted = {
  bug: 'a hole is punched without invalidate_lock, and stays in the cache',
  changes: { fops: { fallocate } },
  provoke: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.alloc(3 * 4096, 1));
    // Part of a page, and behind the end: nothing that is cached becomes wrong.
    await sys.fallocate(fd, 3, 5 * 4096, 4096);
    await sys.fallocate(fd, 3, 4096, 4096);
  },
  reports: [
    {
      kind: 'lock-not-held',
      rule: 'file_operations.fallocate/invalidate_lock/mapping',
      op: 'file_operations.fallocate',
      held: ['s_writers (read)'],
      at: 'fallocate',
    },
    {
      kind: 'folio-state',
      rule: 'file_operations.fallocate#drops-cached-range',
      op: 'file_operations.fallocate',
      held: ['s_writers (read)'],
      at: 'fallocate',
    },
  ],
};
