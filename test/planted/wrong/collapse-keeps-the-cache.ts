/** fallocate moves what lies behind a range that is taken out, with all locks held, and drops only the range itself from the cache. */

import type { File } from '../../../src/fs/file.js';
import { truncate_pagecache_range } from '../../../src/mm/truncate.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';

async function fallocate(task: Task, file: File, _mode: number, offset: number, length: number): Promise<void> {
  const { f_inode: inode, f_mapping: mapping } = file;
  using _inode = await inode.i_rwsem.write(task);
  using held = await mapping.invalidate_lock.write(task);
  await truncate_pagecache_range(task, mapping, offset, offset + length - 1, held);
}

export const planted: Planted = {
  bug: 'a range is collapsed, and the cache shows what lay behind it where it was',
  changes: { fops: { fallocate } },
  provoke: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.alloc(3 * 4096, 1));
    await sys.fallocate(fd, 8, 0, 4096);
  },
  reports: [
    {
      kind: 'folio-state',
      rule: 'file_operations.fallocate#drops-cached-range',
      op: 'file_operations.fallocate',
      held: ['s_writers (read)'],
      at: 'fallocate',
    },
  ],
};
