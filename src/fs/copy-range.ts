/** copy_file_range(2) (fs/read_write.c). */
import { file_operations } from '../contract/file.js';
import { call } from '../locking/context.js';
import { folio_put } from '../mm/filemap.js';
import { IovIter } from '../mm/iov-iter.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { type File, FMODE_READ, FMODE_WRITE } from './file.js';
import { isDir } from './permission.js';
import { vfs_iter_read, vfs_iter_write } from './read-write.js';

const CHUNK = 1 << 20;
const O_APPEND = 0o2000;

/** @returns bytes copied, fewer at the end of the source. @throws EBADF EISDIR EINVAL for ranges of one file that overlap; what reading and writing throw */
export async function vfs_copy_file_range(
  task: Task,
  fileIn: File,
  posIn: number,
  fileOut: File,
  posOut: number,
  length: number,
  flags: number,
): Promise<number> {
  if (flags !== 0) throw errno('EINVAL');
  if ((fileIn.f_mode & FMODE_READ) === 0 || (fileOut.f_mode & FMODE_WRITE) === 0) throw errno('EBADF');
  if ((fileOut.f_flags & O_APPEND) !== 0) throw errno('EBADF');
  if (isDir(fileIn.f_inode) || isDir(fileOut.f_inode)) throw errno('EISDIR');
  const count = Math.max(0, Math.min(length, fileIn.f_inode.i_size - posIn));
  if (fileIn.f_inode === fileOut.f_inode && posOut + count > posIn && posOut < posIn + count) throw errno('EINVAL');
  const { copy_file_range } = fileOut.f_op;
  if (copy_file_range !== undefined) {
    return call(task, file_operations.copy_file_range, {}, () =>
      copy_file_range(task, fileIn, posIn, fileOut, posOut, count, flags),
    );
  }
  let done = 0;
  while (done < count) {
    const step = await copyChunk(task, fileIn, posIn + done, fileOut, posOut + done, Math.min(CHUNK, count - done));
    if (step === 0) break;
    done += step;
    // The caller asks for the rest; others get their turn.
    if (done >= 64 * CHUNK) break;
  }
  return done;
}

async function copyChunk(
  task: Task,
  from: File,
  posIn: number,
  to: File,
  posOut: number,
  size: number,
): Promise<number> {
  const read = IovIter.ofDest(size);
  try {
    const got = await vfs_iter_read(task, from, read, posIn, {});
    if (got === 0) return 0;
    return await vfs_iter_write(task, to, IovIter.ofSource(Buffer.concat(read.segments, got)), posOut, {});
  } finally {
    for (const folio of read.folios) folio_put(task, folio);
  }
}
