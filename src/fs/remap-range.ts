/** Sharing blocks between files: clone and dedupe (fs/remap_range.c). */

import { file_operations } from '../contract/file.js';
import { call, type ParticipantsOf } from '../locking/context.js';
import { errno, isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { O_APPEND } from '../uapi/fcntl.js';
import { S_IFMT, S_IFREG } from '../uapi/stat.js';
import { type File, FMODE_READ, FMODE_WRITE } from './file.js';
import { isDir, S_IMMUTABLE, S_SWAPFILE } from './inode.js';
import { inode_owner_or_capable } from './inode-owner.js';
import { inode_permission, MAY_WRITE } from './namei/permission.js';
import { sb_end_write, sb_start_write } from './super-freeze.js';

/** The ranges must be equal: deduplication (REMAP_FILE_DEDUP). */
export const REMAP_FILE_DEDUP = 1;
/** Less than all of it may be done (REMAP_FILE_CAN_SHORTEN). */
export const REMAP_FILE_CAN_SHORTEN = 2;

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
  if (from.f_op.remap_file_range === undefined) throw errno('EOPNOTSUPP');
  if (posIn < 0 || posOut < 0 || length < 0) throw errno('EINVAL');
  return await remap(task, from, posIn, to, posOut, length, flags);
}

async function remap(
  task: Task,
  from: File,
  posIn: number,
  to: File,
  posOut: number,
  length: number,
  flags: number,
): Promise<number> {
  const { remap_file_range } = from.f_op;
  if (remap_file_range === undefined) throw errno('EOPNOTSUPP');
  const writing = await sb_start_write(task, to.f_inode.i_sb);
  try {
    return await call(task, file_operations.remap_file_range, twoFiles(from, to), () =>
      remap_file_range(task, from, posIn, to, posOut, length, flags),
    );
  } finally {
    sb_end_write(writing);
  }
}

/** The locks that the operation takes, of two files or of one. */
function twoFiles(
  { f_inode: from }: File,
  { f_inode: to }: File,
): ParticipantsOf<typeof file_operations.remap_file_range> {
  const out = { inode_out: to.i_rwsem, mapping_out: to.i_mapping.invalidate_lock };
  return from === to ? out : { ...out, inode_in: from.i_rwsem, mapping_in: from.i_mapping.invalidate_lock };
}

/** The most that one request deduplicates, bytes. */
const MAX_DEDUPE = 2 ** 30;

/** A file, and where in it the bytes of the source are thought to be. */
export interface DedupeTarget {
  readonly file: File;
  readonly offset: number;
}

/** Who may have the blocks of a file exchanged (may_dedupe_file): who has it open for writing, owns it, or could write it. @throws EPERM */
async function mayDedupe(task: Task, { f_mode: mode, f_inode: inode }: File): Promise<void> {
  if ((mode & FMODE_WRITE) !== 0 || inode_owner_or_capable(task, inode)) return;
  try {
    await inode_permission(task, inode, MAY_WRITE);
  } catch (error) {
    throw isErrno(error, 'EACCES') ? errno('EPERM') : error;
  }
}

/**
 * Let one target share the blocks of the source, if its bytes are the same (vfs_dedupe_file_range_one).
 * @returns bytes shared
 * @throws EBADE where they differ; EPERM for a file of somebody else's that the caller may not write; EXDEV EISDIR EINVAL EOPNOTSUPP
 */
export async function vfs_dedupe_file_range_one(
  task: Task,
  source: File,
  offset: number,
  length: number,
  { file: target, offset: posOut }: DedupeTarget,
): Promise<number> {
  const { f_inode: inode } = target;
  if (inode.i_sb !== source.f_inode.i_sb) throw errno('EXDEV');
  if (isDir(inode)) throw errno('EISDIR');
  if ((inode.i_mode & S_IFMT) !== S_IFREG) throw errno('EINVAL');
  if (((source.f_inode.i_flags | inode.i_flags) & S_SWAPFILE) !== 0) throw errno('ETXTBSY');
  if ((inode.i_flags & S_IMMUTABLE) !== 0) throw errno('EPERM');
  await mayDedupe(task, target);
  if (length === 0) return 0;
  return await remap(task, source, offset, target, posOut, length, REMAP_FILE_DEDUP | REMAP_FILE_CAN_SHORTEN);
}

/**
 * Which range of the source is to be deduplicated (the checks of vfs_dedupe_file_range).
 * @returns bytes
 * @throws EINVAL for what is not open for reading, no regular file, or a range beyond its end; EISDIR EOPNOTSUPP
 */
export function dedupe_length(source: File, offset: number, length: number): number {
  const { f_inode: inode } = source;
  if ((source.f_mode & FMODE_READ) === 0 || offset < 0 || length < 0) throw errno('EINVAL');
  if (isDir(inode)) throw errno('EISDIR');
  if ((inode.i_mode & S_IFMT) !== S_IFREG) throw errno('EINVAL');
  if (source.f_op.remap_file_range === undefined) throw errno('EOPNOTSUPP');
  if (offset + length > inode.i_size) throw errno('EINVAL');
  return Math.min(length, MAX_DEDUPE);
}
