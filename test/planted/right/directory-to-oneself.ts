/** A filesystem whose listing changes the directory wants it to itself: wrap_directory_iterator gives the shared lock up and takes it exclusively. */
import type { File } from '../../../src/fs/file.js';
import { simple_offset_dir_operations } from '../../../src/fs/libfs.js';
import { wrap_directory_iterator } from '../../../src/fs/readdir.js';
import type { DirContext } from '../../../src/fs/types.js';
import { GUARDED, guard_write } from '../../../src/locking/guarded.js';
import type { Awaitable } from '../../../src/sched/awaitable.js';
import type { Task } from '../../../src/sched/task.js';
import type { Unusual } from '../harness.js';

let alone = 0;

function iterate(task: Task, file: File, ctx: DirContext): Awaitable<void> {
  guard_write(task, GUARDED.dir_entries, file.f_inode.i_rwsem);
  if (file.f_inode.i_rwsem.writer?.task === task) alone++;
  return simple_offset_dir_operations.iterate_shared?.(task, file, ctx);
}

export const unusual: Unusual = {
  what: 'a listing that has the directory to itself',
  changes: { dirFops: { iterate_shared: (task, file, ctx) => wrap_directory_iterator(task, file, ctx, iterate) } },
  use: async ({ sys, other }) => {
    await sys.mkdir('/d', 0o755);
    const listed = async (process: typeof sys): Promise<number> =>
      (await process.getdents(await process.open('/', 0), 4096)).length;
    const counts = await Promise.all([listed(sys), listed(other), sys.mkdir('/e', 0o755)]);
    await sys.rmdir('/e');
    return alone >= 2 && counts.length === 3;
  },
};
