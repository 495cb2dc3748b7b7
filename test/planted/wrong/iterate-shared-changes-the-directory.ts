/** iterate_shared takes stale entries out of the directory while it lists it; i_rwsem is shared. */
import type { File } from '../../../src/fs/file.js';
import { simple_offset_dir_operations } from '../../../src/fs/libfs.js';
import type { DirContext } from '../../../src/fs/types.js';
import { GUARDED, guard_write } from '../../../src/locking/guarded.js';
import type { Awaitable } from '../../../src/sched/awaitable.js';
import type { Task } from '../../../src/sched/task.js';
import type { Planted } from '../harness.js';

function drop_stale(task: Task, file: File): void {
  guard_write(task, GUARDED.dir_entries, file.f_inode.i_rwsem);
}

function iterate_shared(task: Task, file: File, ctx: DirContext): Awaitable<void> {
  drop_stale(task, file);
  return simple_offset_dir_operations.iterate_shared?.(task, file, ctx);
}

export const planted: Planted = {
  bug: 'iterate_shared changes the directory',
  changes: { dirFops: { iterate_shared } },
  provoke: async ({ sys }) => sys.getdents(await sys.open('/', 0), 4096),
  reports: [
    {
      kind: 'guarded-state',
      rule: 'guarded#directory entries',
      op: 'file_operations.iterate_shared',
      held: ['f_pos_lock (write)', 'i_rwsem (read)'],
      at: 'drop_stale',
    },
  ],
};
