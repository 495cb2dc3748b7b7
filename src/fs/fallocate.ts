/** fallocate(2) (fs/open.c, vfs_fallocate). */
import { file_operations } from '../contract/file.js';
import { call } from '../locking/context.js';
import type { Awaitable } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { type File, FMODE_WRITE } from './file.js';
import { S_APPEND, S_IMMUTABLE } from './inode.js';
import { isDir } from './permission.js';

export const FALLOC_FL_KEEP_SIZE = 0x01;
export const FALLOC_FL_PUNCH_HOLE = 0x02;
export const FALLOC_FL_COLLAPSE_RANGE = 0x08;
export const FALLOC_FL_ZERO_RANGE = 0x10;
export const FALLOC_FL_INSERT_RANGE = 0x20;
const KNOWN = 0x3b;

/** @throws EINVAL EOPNOTSUPP EBADF EPERM EISDIR ENODEV EFBIG ENOSPC */
export function vfs_fallocate(task: Task, file: File, mode: number, offset: number, length: number): Awaitable<void> {
  const { f_inode: inode } = file;
  if (offset < 0 || length <= 0) throw errno('EINVAL');
  if ((mode & ~KNOWN) !== 0) throw errno('EOPNOTSUPP');
  const kind = mode & ~FALLOC_FL_KEEP_SIZE;
  if (kind === FALLOC_FL_PUNCH_HOLE && (mode & FALLOC_FL_KEEP_SIZE) === 0) throw errno('EOPNOTSUPP');
  if ((kind & (kind - 1)) !== 0) throw errno('EOPNOTSUPP');
  if ((file.f_mode & FMODE_WRITE) === 0) throw errno('EBADF');
  if ((kind !== 0 && (inode.i_flags & S_APPEND) !== 0) || (inode.i_flags & S_IMMUTABLE) !== 0) throw errno('EPERM');
  if (isDir(inode)) throw errno('EISDIR');
  if ((inode.i_mode & 0o170000) !== 0o100000) throw errno('ENODEV');
  if (offset + length > inode.i_sb.s_maxbytes) throw errno('EFBIG');
  const { fallocate } = file.f_op;
  if (fallocate === undefined) throw errno('EOPNOTSUPP');
  return call(task, file_operations.fallocate, {}, () => fallocate(task, file, mode, offset, length));
}
