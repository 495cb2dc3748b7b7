/** copy_file_range(2) (fs/read_write.c). */

import { file_operations } from '../contract/file.js';
import { call, type ParticipantsOf } from '../locking/context.js';
import { IovIter } from '../mm/iov-iter.js';
import { errno, isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { O_APPEND } from '../uapi/fcntl.js';
import { S_IFMT, S_IFREG } from '../uapi/stat.js';
import { type File, FMODE_READ, FMODE_WRITE } from './file.js';
import { isDir, S_IMMUTABLE, S_SWAPFILE } from './inode.js';
import { generic_write_check_limits, vfs_iter_read, vfs_iter_write } from './read-write.js';
import { sb_end_write, sb_start_write } from './super-freeze.js';

/** Bytes that are read and written in one step, and after which others get their turn. */
const CHUNK = 64 * 1024;
const TURN = 1024 * 1024;

/** Whether a range passes the end of 64 bits, in which the kernel adds a position, negative or not, and a length. */
function wraps(pos: number, length: number): boolean {
  return pos < 0 ? length >= -pos : pos + length >= 2 ** 64;
}

/**
 * How much of what is asked for may be copied (generic_copy_file_checks, generic_file_rw_checks).
 * @returns bytes, 0 at the end of the source
 */
function checked(fileIn: File, posIn: number, fileOut: File, posOut: number, length: number): number {
  const { f_inode: from } = fileIn;
  const { f_inode: to } = fileOut;
  if (isDir(from) || isDir(to)) throw errno('EISDIR');
  if ((from.i_mode & S_IFMT) !== S_IFREG || (to.i_mode & S_IFMT) !== S_IFREG) throw errno('EINVAL');
  if ((fileIn.f_mode & FMODE_READ) === 0 || (fileOut.f_mode & FMODE_WRITE) === 0) throw errno('EBADF');
  if ((fileOut.f_flags & O_APPEND) !== 0) throw errno('EBADF');
  if ((to.i_flags & S_IMMUTABLE) !== 0) throw errno('EPERM');
  if (((from.i_flags | to.i_flags) & S_SWAPFILE) !== 0) throw errno('ETXTBSY');
  if (wraps(posIn, length) || wraps(posOut, length)) throw errno('EOVERFLOW');
  if (posIn < 0 || posOut < 0 || length < 0) throw errno('EINVAL');
  // Where nothing is left to copy, it may still not go there.
  const count = generic_write_check_limits(fileOut, posOut, Math.max(0, Math.min(length, from.i_size - posIn)));
  if (count === 0) return 0;
  if (from === to && posOut + count > posIn && posOut < posIn + count) throw errno('EINVAL');
  return count;
}

/** The locks that an operation on two files takes, which may be one. */
function twoFiles({ f_inode: from }: File, { f_inode: to }: File): TwoFiles {
  const own = { inode_out: to.i_rwsem, mapping_out: to.i_mapping.invalidate_lock };
  return from === to ? own : { ...own, inode_in: from.i_rwsem };
}

type TwoFiles = ParticipantsOf<typeof file_operations.copy_file_range>;

/**
 * Copy a range of one file into another, or within one (vfs_copy_file_range): by the filesystem's own operation, and where it has none or
 * cannot, through the page cache.
 * @param posIn where to read, bytes; the positions of the files do not move
 * @param flags none are known
 * @returns bytes copied: fewer at the end of the source, after a signal, and where an error came after some
 * @throws EBADF EISDIR; EINVAL for flags, for what is no regular file and for ranges of one file that overlap; EOVERFLOW EFBIG EPERM
 * ETXTBSY EXDEV ENOSPC EIO EINTR
 */
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
  if (fileIn.f_inode.i_sb.s_type !== fileOut.f_inode.i_sb.s_type) throw errno('EXDEV');
  const count = checked(fileIn, posIn, fileOut, posOut, length);
  if (count === 0) return 0;
  const { copy_file_range } = fileOut.f_op;
  if (copy_file_range !== undefined) {
    try {
      const writing = await sb_start_write(task, fileOut.f_inode.i_sb);
      try {
        return await call(task, file_operations.copy_file_range, twoFiles(fileIn, fileOut), () =>
          copy_file_range(task, fileIn, posIn, fileOut, posOut, count, flags),
        );
      } finally {
        sb_end_write(writing);
      }
    } catch (error) {
      if (!isErrno(error, 'EOPNOTSUPP') && !isErrno(error, 'EXDEV')) throw error;
    }
  }
  return generic_copy(task, fileIn, posIn, fileOut, posOut, count);
}

/**
 * Copy through the page caches (splice_copy_file_range). Holds no lock from one chunk to the next. @returns bytes copied
 * @throws EINTR where the task is killed before the first byte; what reading and writing throw
 */
export async function generic_copy(
  task: Task,
  fileIn: File,
  posIn: number,
  fileOut: File,
  posOut: number,
  count: number,
): Promise<number> {
  let done = 0;
  try {
    while (done < count) {
      if (task.killed) throw errno('EINTR');
      const size = Math.min(CHUNK, count - done);
      const step = await copyChunk(task, fileIn, posIn + done, fileOut, posOut + done, size);
      if (step === 0) break;
      done += step;
      if (done % TURN === 0) await task.sched.yield();
    }
  } catch (error) {
    if (done === 0) throw error;
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
    const got = await vfs_iter_read(task, from, read, posIn, { direct: false });
    if (got === 0) return 0;
    const [only] = read.segments;
    // One buffer for the whole chunk, so that i_rwsem of the target is taken once for it.
    const bytes = only !== undefined && read.segments.length === 1 ? only : Buffer.concat(read.segments, got);
    return await vfs_iter_write(task, to, IovIter.ofSource(bytes), posOut, { direct: false });
  } finally {
    read.release();
  }
}
