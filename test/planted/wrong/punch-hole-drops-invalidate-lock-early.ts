/** fallocate gives invalidate_lock back before it drops the cached pages of the hole. */

import type { File } from '../../../src/fs/file.js';
import { truncate_pagecache_range } from '../../../src/mm/truncate.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';

async function fallocate(task: Task, file: File, _mode: number, offset: number, length: number): Promise<void> {
  const { f_inode: inode, f_mapping: mapping } = file;
  using _inode = await inode.i_rwsem.write(task);
  const held = await mapping.invalidate_lock.write(task);
  held.release();
  await truncate_pagecache_range(task, mapping, offset, offset + length - 1, held);
}

export const planted: Planted = {
  bug: 'fallocate drops the page cache without invalidate_lock',
  changes: { fops: { fallocate } },
  provoke: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.alloc(4096, 1));
    await sys.fallocate(fd, 3, 0, 4096);
  },
  reports: [
    {
      kind: 'lock-not-held',
      rule: 'address_space_operations.invalidate_folio#filesystem-takes-invalidate_lock',
      op: 'file_operations.fallocate',
      held: ['s_writers (read)', 'i_rwsem (write)'],
      at: 'fallocate',
    },
  ],
};
