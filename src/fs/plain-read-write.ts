/** read(2) and write(2) of files that take and give bytes as they come, without pages: ->read and ->write (the first half of vfs_read and vfs_write). */

import { file_operations as rows } from '../contract/file.js';
import { call } from '../locking/context.js';
import type { IovIter } from '../mm/iov-iter.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { S_IFMT, S_IFREG } from '../uapi/stat.js';
import type { File } from './file.js';
import { isDir } from './inode.js';
import type { file_operations } from './operations.js';
import { file_end_write, file_start_write } from './super-freeze.js';

/** Read at `pos` by ->read. @returns bytes @throws EISDIR for a directory; EINVAL where there is no ->read, and for a negative position; what it throws */
export function plain_read(task: Task, file: File, iter: IovIter, pos: number): Awaitable<number> {
  const { read } = file.f_op;
  if (read === undefined) throw errno(isDir(file.f_inode) ? 'EISDIR' : 'EINVAL');
  if (pos < 0) throw errno('EINVAL');
  return andThen(
    call(task, rows.read, {}, () => read(task, file, iter.count, pos)),
    (bytes) => iter.addBytes(bytes),
  );
}

/** Write at `pos` by ->write; it is a write for those who freeze. Otherwise as plain_read. @throws EINVAL where there is no ->write, EISDIR where it is a directory */
export function plain_write(task: Task, file: File, iter: IovIter, pos: number): Awaitable<number> {
  const { write } = file.f_op;
  if (write === undefined) throw errno(isDir(file.f_inode) ? 'EISDIR' : 'EINVAL');
  if (pos < 0) throw errno('EINVAL');
  return frozenOut(task, file, write, iter.take(iter.count), pos);
}

async function frozenOut(
  task: Task,
  file: File,
  write: NonNullable<file_operations['write']>,
  bytes: Buffer,
  pos: number,
): Promise<number> {
  const { i_mode, i_sb: sb } = file.f_inode;
  // Of special files nothing is written to this filesystem.
  const writing = (i_mode & S_IFMT) === S_IFREG ? await file_start_write(task, sb) : undefined;
  try {
    return await call(task, rows.write, {}, () => write(task, file, bytes, pos));
  } finally {
    if (writing !== undefined) file_end_write(sb, writing);
  }
}
