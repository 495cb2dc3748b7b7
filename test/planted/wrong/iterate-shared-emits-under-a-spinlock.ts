/** iterate_shared walks its list of names under a spinlock and emits them there: the memory that they go to may have to be faulted in. */

import type { File } from '../../../src/fs/file.js';
import { simple_offset_dir_operations } from '../../../src/fs/libfs.js';
import type { DirContext } from '../../../src/fs/types.js';
import { errno } from '../../../src/sched/errno.js';
import type { Task } from '../../../src/sched/task.js';
import type { Planted } from '../harness.js';

function iterate_shared(task: Task, file: File, ctx: DirContext): void {
  const { iterate_shared: iterate } = simple_offset_dir_operations;
  using _locked = file.f_inode.i_lock.lock(task);
  if (iterate?.(task, file, ctx) instanceof Promise) throw errno('EIO');
}

export const planted: Planted = {
  bug: 'names are emitted with a spinlock held',
  changes: { dirFops: { iterate_shared } },
  provoke: async ({ sys }) => {
    await sys.getdents(await sys.open('/', 0));
  },
  reports: [
    {
      kind: 'sleep-in-atomic',
      rule: 'spinlock#holder-may-not-sleep',
      op: 'file_operations.iterate_shared',
      held: ['f_pos_lock (write)', 'i_rwsem (read)', 'i_lock (write)'],
      at: 'iterate_shared',
    },
  ],
};
