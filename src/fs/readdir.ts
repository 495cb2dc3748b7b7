/** Reading directories (fs/readdir.c). */
import { file_operations } from '../contract/file.js';
import { call, take } from '../locking/context.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { File } from './file.js';
import { I_MUTEX_NORMAL, S_DEAD } from './inode.js';
import { touch_atime } from './time.js';
import type { DirContext } from './types.js';

/**
 * Emit the entries of a directory from ctx.pos on (iterate_dir). Takes f_pos_lock, then i_rwsem shared.
 * @throws ENOTDIR; ENOENT where it was removed
 */
export async function iterate_dir(task: Task, file: File, ctx: DirContext): Promise<void> {
  const { iterate_shared } = file.f_op;
  const { f_inode: inode } = file;
  if (iterate_shared === undefined) throw errno('ENOTDIR');
  using _position = await file.f_pos_lock.lock(task);
  using _held = await take(task, file_operations.iterate_shared, 'inode', inode.i_rwsem, I_MUTEX_NORMAL, {
    interruptible: true,
  });
  if ((inode.i_flags & S_DEAD) !== 0) throw errno('ENOENT');
  const participants = { file: file.f_pos_lock, inode: inode.i_rwsem };
  await call(task, file_operations.iterate_shared, participants, () => iterate_shared(task, file, ctx));
  file.f_pos = ctx.pos;
  await touch_atime(task, inode);
}
