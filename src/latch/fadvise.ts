/** posix_fadvise(2) of files (xfs_file_fadvise). */

import type { File } from '../fs/file.js';
import { generic_fadvise } from '../mm/fadvise.js';
import type { Task } from '../sched/task.js';
import { POSIX_FADV_WILLNEED } from '../uapi/mman.js';

/**
 * ->fadvise: pages are brought in under i_rwsem held shared, so that the file does not end, or change blocks, in the middle of that.
 * @throws EINVAL; EINTR
 */
export async function latch_fadvise(
  task: Task,
  file: File,
  offset: number,
  length: number,
  advice: number,
): Promise<void> {
  const { i_rwsem, i_sb: sb } = file.f_inode;
  using _rwsem = advice === POSIX_FADV_WILLNEED ? await i_rwsem.read(task) : undefined;
  await generic_fadvise(task, file, offset, length, advice, sb.s_ra_pages);
}
