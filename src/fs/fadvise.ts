/** Advice on how a file will be read (vfs_fadvise of mm/fadvise.c). */
import { file_operations as rows } from '../contract/file.js';
import { call } from '../locking/context.js';
import { generic_fadvise } from '../mm/fadvise.js';
import type { Awaitable } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import type { File } from './file.js';

/**
 * Take a hint on `length` bytes from `offset` on; 0: to the end of the file.
 * @param advice POSIX_FADV_* @throws EINVAL for another
 */
export function vfs_fadvise(task: Task, file: File, offset: number, length: number, advice: number): Awaitable<void> {
  const { fadvise } = file.f_op;
  if (fadvise !== undefined) return call(task, rows.fadvise, {}, () => fadvise(task, file, offset, length, advice));
  return generic_fadvise(task, file, offset, length, advice, file.f_inode.i_sb.s_ra_pages);
}
