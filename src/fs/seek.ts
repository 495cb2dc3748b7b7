/** lseek(2) (fs/read_write.c). */

import { file_operations as rows } from '../contract/file.js';
import { call } from '../locking/context.js';
import type { Awaitable } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { SEEK_CUR, SEEK_DATA, SEEK_END, SEEK_HOLE, SEEK_SET } from '../uapi/fs.js';
import { type File, FMODE_LSEEK } from './file.js';

/**
 * lseek(2) (vfs_llseek). @param offset bytes, may be negative @returns the new position
 * @throws EINVAL ENXIO; ESPIPE for what has no positions
 */
export function vfs_llseek(task: Task, file: File, offset: number, whence: number): Awaitable<number> {
  if ((file.f_mode & FMODE_LSEEK) === 0) throw errno('ESPIPE');
  if (whence < SEEK_SET || whence > SEEK_HOLE) throw errno('EINVAL');
  const { llseek } = file.f_op;
  if (llseek === undefined) return generic_file_llseek(file, offset, whence);
  return call(task, rows.llseek, {}, () => llseek(task, file, offset, whence));
}

/**
 * Positions counted from somewhere; the whole file counts as data (generic_file_llseek). Sets f_pos.
 * @throws EINVAL for a position that is negative or beyond s_maxbytes; ENXIO for SEEK_DATA and SEEK_HOLE outside the file
 */
export function generic_file_llseek(file: File, offset: number, whence: number): number {
  const { i_size: size } = file.f_inode;
  switch (whence) {
    case SEEK_SET:
      return vfs_setpos(file, offset);
    case SEEK_CUR:
      return vfs_setpos(file, file.f_pos + offset);
    case SEEK_END:
      return vfs_setpos(file, size + offset);
    case SEEK_DATA:
    case SEEK_HOLE:
      if (offset < 0 || offset >= size) throw errno('ENXIO');
      return vfs_setpos(file, whence === SEEK_DATA ? offset : size);
    default:
      throw errno('EINVAL');
  }
}

/** Move the position of an open file (vfs_setpos). @throws EINVAL */
export function vfs_setpos(file: File, position: number): number {
  if (position < 0 || position > file.f_inode.i_sb.s_maxbytes) throw errno('EINVAL');
  file.f_pos = position;
  return position;
}
