/** Sharing blocks between files: clone and dedupe (fs/remap_range.c). */
import { file_operations } from '../contract/file.js';
import { call } from '../locking/context.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { type File, FMODE_READ, FMODE_WRITE } from './file.js';
import { S_IMMUTABLE, S_SWAPFILE } from './inode.js';
import { O_APPEND } from './open-flags.js';
import { isDir } from './permission.js';
import { sb_end_write, sb_start_write } from './super-freeze.js';

/** The ranges must be equal: deduplication (REMAP_FILE_DEDUP). */
export const REMAP_FILE_DEDUP = 1;
/** Less than all of it may be done (REMAP_FILE_CAN_SHORTEN). */
export const REMAP_FILE_CAN_SHORTEN = 2;

const S_IFMT = 0o170000;
const S_IFREG = 0o100000;

/** @throws EISDIR EINVAL EBADF EPERM ETXTBSY (generic_file_rw_checks) */
function check(from: File, to: File): void {
  const [source, target] = [from.f_inode, to.f_inode];
  if (isDir(source) || isDir(target)) throw errno('EISDIR');
  if ((source.i_mode & S_IFMT) !== S_IFREG || (target.i_mode & S_IFMT) !== S_IFREG) throw errno('EINVAL');
  if ((from.f_mode & FMODE_READ) === 0 || (to.f_mode & FMODE_WRITE) === 0) throw errno('EBADF');
  if ((to.f_flags & O_APPEND) !== 0) throw errno('EBADF');
  if ((target.i_flags & S_IMMUTABLE) !== 0) throw errno('EPERM');
  if (((source.i_flags | target.i_flags) & S_SWAPFILE) !== 0) throw errno('ETXTBSY');
}

/**
 * Let a range of `to` share the blocks of one of `from` (vfs_clone_file_range, and with REMAP_FILE_DEDUP vfs_dedupe_file_range_one). The filesystem takes i_rwsem of
 * both and invalidate_lock of both.
 * @param length bytes, 0: to the end of the source
 * @returns bytes shared
 * @throws EXDEV between filesystems; EOPNOTSUPP where the filesystem cannot share; EINVAL EISDIR EBADF EPERM ETXTBSY
 */
export async function vfs_remap_file_range(
  task: Task,
  from: File,
  posIn: number,
  to: File,
  posOut: number,
  length: number,
  flags: number,
): Promise<number> {
  if (from.f_inode.i_sb !== to.f_inode.i_sb) throw errno('EXDEV');
  check(from, to);
  const { remap_file_range } = from.f_op;
  if (remap_file_range === undefined) throw errno('EOPNOTSUPP');
  if (posIn < 0 || posOut < 0 || length < 0) throw errno('EINVAL');
  const writing = await sb_start_write(task, to.f_inode.i_sb);
  try {
    return await call(task, file_operations.remap_file_range, {}, () =>
      remap_file_range(task, from, posIn, to, posOut, length, flags),
    );
  } finally {
    sb_end_write(writing);
  }
}
