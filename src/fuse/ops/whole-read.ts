/** Reading for a kernel that takes an answer with fewer bytes than it asked for as the end of the file. */
import type { File } from '../../fs/file.js';
import { type ReadOptions, vfs_iter_read } from '../../fs/read-write.js';
import type { IovIter } from '../../mm/iov-iter.js';
import { type Awaitable, andThen } from '../../sched/awaitable.js';
import type { Task } from '../../sched/task.js';

/**
 * Read at `pos` until `iter` is full or the file ends. read(2) may stop before, where an error comes after some bytes; whoever fills pages of a cache with the
 * answer would show zeros for the rest, and a file that ends there. So reading goes on until the error comes alone.
 *
 * @param partly the answer goes to read(2) itself: what was read before an error is worth having
 * @throws what reading throws; with `partly`, only before the first byte. References to folios are the caller's to release also then
 */
export function read_whole(
  task: Task,
  file: File,
  iter: IovIter,
  pos: number,
  options: ReadOptions,
  partly: boolean,
): Awaitable<void> {
  return andThen(vfs_iter_read(task, file, iter, pos, options), (bytes) => {
    const end = pos + bytes;
    if (bytes > 0 && iter.count > 0 && end < file.f_inode.i_size)
      return read_rest(task, file, iter, end, options, partly);
    return undefined;
  });
}

async function read_rest(
  task: Task,
  file: File,
  iter: IovIter,
  from: number,
  options: ReadOptions,
  partly: boolean,
): Promise<void> {
  let pos = from;
  try {
    while (iter.count > 0 && pos < file.f_inode.i_size) {
      const bytes = await vfs_iter_read(task, file, iter, pos, options);
      if (bytes === 0) return;
      pos += bytes;
    }
  } catch (error) {
    if (!partly) throw error;
  }
}
