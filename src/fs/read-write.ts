/** read(2) and write(2) (fs/read_write.c, mm/filemap.c). */

import { address_space_operations } from '../contract/address-space.js';
import { file_operations as rows } from '../contract/file.js';
import { invoke, take } from '../locking/context.js';
import { type Held, release_held } from '../locking/held.js';
import { generic_file_read_iter as mm_file_read_iter } from '../mm/filemap-direct.js';
import { filemap_read } from '../mm/filemap-read.js';
import { generic_perform_write } from '../mm/filemap-write.js';
import type { IovIter } from '../mm/iov-iter.js';
import { completed, type IOCB_QUEUED, type Kiocb } from '../mm/operations.js';
import { type Awaitable, andThen, instead, withCleanup } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { O_APPEND, O_DIRECT, O_DSYNC, O_SYNC } from '../uapi/fcntl.js';
import { S_IFMT, S_IFREG } from '../uapi/stat.js';
import { file_remove_suid, has_caps, remove_caps } from './attr-privs.js';
import { cached_direct_read, direct_write } from './direct.js';
import { type File, FMODE_READ, FMODE_WRITE } from './file.js';
import { file_dentry } from './file-table.js';
import { I_MUTEX_NORMAL, type Inode, S_NOSEC, S_SWAPFILE } from './inode.js';
import { plain_read, plain_write } from './plain-read-write.js';
import { type FileWriting, file_end_write, file_start_write } from './super-freeze.js';
import { vfs_fsync_range } from './sync.js';
import { IS_SYNC } from './sync-flags.js';
import { file_accessed, file_update_time } from './time.js';

const SUID_SGID = 0o6000;

/** What is absent follows from the flags that the file was opened with. */
export interface ReadOptions {
  readonly direct?: boolean;
  /** RWF_NOWAIT: EAGAIN rather than to wait. */
  readonly nowait?: boolean;
}

/** What is absent follows from the flags that the file was opened with, and from who writes. */
export interface WriteOptions {
  readonly direct?: boolean;
  readonly append?: boolean;
  readonly sync?: false | 'dsync' | 'sync';
  /** Setuid and setgid go, because the writer may not keep them; by default of writers without CAP_FSETID. */
  readonly killSuidgid?: boolean;
  /** File capabilities go; the default. Pages that are written back, of a shared mapping say, leave them: nobody writes to the file at that moment. */
  readonly killCaps?: boolean;
  /** The caller's RLIMIT_FSIZE, bytes. */
  readonly rlimitFsize?: number;
}

/** struct kiocb with what a write of ours carries besides. */
interface WriteKiocb extends Kiocb {
  readonly ki_filp: File;
  readonly killSuidgid: boolean | undefined;
  readonly killCaps: boolean;
  /** The file had capabilities when it was looked at, before i_rwsem was taken: they go with the first byte. */
  hasCaps?: boolean;
  readonly rlimitFsize: number | undefined;
}

/** IOCB_SYNC and IOCB_DSYNC as the file's and the inode's flags demand them (iocb_flags). */
function syncOf(file: File): false | 'dsync' | 'sync' {
  const { f_flags: flags, f_inode: inode } = file;
  if ((flags & O_SYNC) === O_SYNC) return 'sync';
  if ((flags & O_DSYNC) !== 0) return 'dsync';
  return IS_SYNC(inode) ? 'dsync' : false;
}

/** What is asked for by the file's flags is asked for, whatever the request says; only chattr +S adds to what the request says. */
function effectiveSync(file: File, asked: WriteOptions['sync']): false | 'dsync' | 'sync' {
  if (asked === undefined) return syncOf(file);
  if (asked !== false) return asked;
  return IS_SYNC(file.f_inode) ? 'dsync' : false;
}

/**
 * Read at `pos` into `iter` (vfs_iter_read; vfs_read, where the file has ->read only). At once where everything is cached. @returns bytes, 0 at the end of the file
 * @throws EBADF where it is not open for reading; EISDIR; EINVAL for a negative position or a file that cannot be read; EIO
 */
export function vfs_iter_read(
  task: Task,
  file: File,
  iter: IovIter,
  pos: number,
  options: ReadOptions = {},
): Awaitable<number> {
  if ((file.f_mode & FMODE_READ) === 0) throw errno('EBADF');
  if (file.f_op.read_iter === undefined) return plain_read(task, file, iter, pos);
  const iocb: Kiocb = {
    ki_filp: file,
    ki_pos: pos,
    direct: options.direct ?? (file.f_flags & O_DIRECT) !== 0,
    sync: false,
    append: false,
    nowait: options.nowait ?? false,
  };
  return completed(vfs_iocb_iter_read(task, file, iocb, iter));
}

/** Read as the kiocb says (vfs_iocb_iter_read). @returns bytes, or IOCB_QUEUED for one with ki_complete @throws as vfs_iter_read */
export function vfs_iocb_iter_read(
  task: Task,
  file: File,
  iocb: Kiocb,
  iter: IovIter,
): Awaitable<number | typeof IOCB_QUEUED> {
  if ((file.f_mode & FMODE_READ) === 0) throw errno('EBADF');
  const { read_iter } = file.f_op;
  if (read_iter === undefined) throw errno('EINVAL');
  if (iocb.ki_pos < 0) throw errno('EINVAL');
  return invoke(task, rows.read_iter, {}, read_iter, iocb, iter);
}

/**
 * Write `iter` at `pos`, or at the end with `append` (vfs_iter_write; vfs_write, where the file has ->write only). At once where nothing has to wait. @returns bytes
 * @throws EBADF where it is not open for writing; EINVAL for a negative position; EFBIG beyond the limits; ENOSPC; EIO
 */
export function vfs_iter_write(
  task: Task,
  file: File,
  iter: IovIter,
  pos: number,
  options: WriteOptions = {},
): Awaitable<number> {
  if ((file.f_mode & FMODE_WRITE) === 0) throw errno('EBADF');
  const { write_iter } = file.f_op;
  if (write_iter === undefined) return plain_write(task, file, iter, pos);
  if (pos < 0) throw errno('EINVAL');
  const iocb: WriteKiocb = {
    ki_filp: file,
    ki_pos: pos,
    direct: options.direct ?? (file.f_flags & O_DIRECT) !== 0,
    sync: effectiveSync(file, options.sync),
    append: options.append ?? (file.f_flags & O_APPEND) !== 0,
    nowait: false,
    killSuidgid: options.killSuidgid,
    killCaps: options.killCaps !== false,
    rlimitFsize: options.rlimitFsize,
  };
  // Of special files nothing is written to this filesystem.
  if ((file.f_inode.i_mode & S_IFMT) !== S_IFREG) {
    return invoke(task, rows.write_iter, {}, write_iter, iocb, iter);
  }
  return andThen(file_start_write(task, file.f_inode.i_sb), started, task, iocb, iter);
}

/** The write itself, and the end of it for those who freeze (file_end_write). */
function started(writing: FileWriting, task: Task, iocb: WriteKiocb, iter: IovIter): Awaitable<number> {
  return withCleanup(callWrite, ended, writing, task, iocb, iter);
}

function callWrite(_writing: FileWriting, task: Task, iocb: WriteKiocb, iter: IovIter): Awaitable<number> {
  const { write_iter } = iocb.ki_filp.f_op;
  if (write_iter === undefined) throw errno('EINVAL');
  return invoke(task, rows.write_iter, {}, write_iter, iocb, iter);
}

function ended(writing: FileWriting, _task: Task, { ki_filp }: WriteKiocb): void {
  file_end_write(ki_filp.f_inode.i_sb, writing);
}

/** ->read_iter of files with pages (generic_file_read_iter). A direct read sees what is dirty in the cache first. Moves atime. @returns bytes, or IOCB_QUEUED */
export function generic_file_read_iter(task: Task, iocb: Kiocb, iter: IovIter): Awaitable<number | typeof IOCB_QUEUED> {
  const count = iter.count === 0 ? 0 : iocb.direct ? readDirect(task, iocb, iter) : filemap_read(task, iocb, iter);
  return andThen(count, read_accessed, task, iocb);
}

/** The direct half of it, without the atime: for who holds i_rwsem around it. */
export function readDirect(task: Task, iocb: Kiocb, iter: IovIter): Awaitable<number | typeof IOCB_QUEUED> {
  if (iocb.ki_filp.f_mapping.a_ops.direct_IO === undefined) return cached_direct_read(task, iocb, iter);
  return mm_file_read_iter(task, iocb, iter);
}

/** The file was read, which may move its atime. @returns `count` */
export function read_accessed<T>(count: T, task: Task, iocb: Kiocb): Awaitable<T> {
  return andThen(file_accessed(task, iocb.ki_filp as File), instead, count);
}

/**
 * Whether a write would take setuid, setgid or capabilities away from the file (file_needs_remove_privs): who holds i_rwsem shared may not write then. Without i_rwsem, as the
 * row of xattr_handler.get demands.
 */
export function file_needs_remove_privs(task: Task, iocb: Kiocb): Awaitable<boolean> {
  const file = iocb.ki_filp as File;
  if ((file.f_inode.i_mode & SUID_SGID) !== 0) return true;
  return (iocb as WriteKiocb).killCaps !== false && has_caps(task, file_dentry(task, file), file.f_inode);
}

/**
 * ->write_iter over the page cache (generic_file_write_iter). Takes i_rwsem exclusively, because write_begin and write_end are called with it.
 */
export function generic_file_write_iter(task: Task, iocb: Kiocb, iter: IovIter): Awaitable<number> {
  const file = iocb.ki_filp as File;
  const kills = (iocb as WriteKiocb).killCaps !== false;
  // They are looked for without i_rwsem, as the row of xattr_handler.get demands, and removed with it.
  const found =
    kills && (file.f_inode.i_flags & S_NOSEC) === 0 && has_caps(task, file_dentry(task, file), file.f_inode);
  return andThen(found, lockedWrite, task, iocb, iter, file);
}

function lockedWrite(caps: boolean, task: Task, iocb: Kiocb, iter: IovIter, file: File): Awaitable<number> {
  if (caps) (iocb as WriteKiocb).hasCaps = true;
  const { i_rwsem } = file.f_inode;
  const locked = take(task, address_space_operations.write_begin, 'inode', i_rwsem, I_MUTEX_NORMAL);
  return andThen(andThen(locked, writeHolding, task, iocb, iter), syncWritten, task, iocb, file);
}

function writeHolding(held: Held, task: Task, iocb: Kiocb, iter: IovIter): Awaitable<number> {
  return withCleanup(writeHeld, release_held, held, task, iocb, iter);
}

function writeHeld(_held: Held, task: Task, iocb: Kiocb, iter: IovIter): Awaitable<number> {
  return __generic_file_write_iter(task, iocb, iter);
}

function syncWritten(count: number, task: Task, iocb: Kiocb, file: File): Awaitable<number> {
  return generic_write_sync(task, iocb, file, count);
}

/**
 * A write with i_rwsem held exclusively (__generic_file_write_iter): checks, capabilities, setuid and setgid, times, then the data.
 * @throws as generic_write_checks; what writing throws
 */
export function __generic_file_write_iter(task: Task, iocb: Kiocb, iter: IovIter): Awaitable<number> {
  const file = iocb.ki_filp as File;
  const { f_inode: inode } = file;
  if (generic_write_checks(iocb, iter) === 0) return 0;
  const caps = (iocb as WriteKiocb).hasCaps === true ? remove_caps(task, file_dentry(task, file), inode) : undefined;
  return andThen(caps, unprivilegedWrite, task, iocb, iter, file, inode);
}

function unprivilegedWrite(
  _caps: unknown,
  task: Task,
  iocb: Kiocb,
  iter: IovIter,
  file: File,
  inode: Inode,
): Awaitable<number> {
  const removed =
    (inode.i_mode & SUID_SGID) === 0
      ? undefined
      : file_remove_suid(task, file_dentry(task, file), inode, (iocb as WriteKiocb).killSuidgid);
  return andThen(removed, timedWrite, task, iocb, iter, inode);
}

function timedWrite(_removed: unknown, task: Task, iocb: Kiocb, iter: IovIter, inode: Inode): Awaitable<number> {
  return andThen(file_update_time(task, inode), transfer, task, iocb, iter);
}

function transfer(_timed: void, task: Task, iocb: Kiocb, iter: IovIter): Awaitable<number> {
  return iocb.direct ? direct_write(task, iocb, iter) : generic_perform_write(task, iocb, iter);
}

/**
 * Where the write begins and how much of it may be written (generic_write_checks). i_rwsem is held, so the end of the file stays where it is.
 * @returns bytes that `iter` has now
 * @throws EFBIG where it begins at or beyond a limit; ETXTBSY for a swap file
 */
export function generic_write_checks(iocb: Kiocb, iter: IovIter): number {
  const file = iocb.ki_filp as File;
  const { f_inode: inode } = file;
  if ((inode.i_flags & S_SWAPFILE) !== 0) throw errno('ETXTBSY');
  if (iter.count === 0) return 0;
  if (iocb.append) iocb.ki_pos = inode.i_size;
  iter.truncate(generic_write_check_limits(file, iocb.ki_pos, iter.count, (iocb as WriteKiocb).rlimitFsize));
  return iter.count;
}

/**
 * How many of `count` bytes at `pos` may be written (generic_write_check_limits). @param rlimit the writer's RLIMIT_FSIZE, bytes
 * @throws EFBIG where none may
 */
export function generic_write_check_limits(file: File, pos: number, count: number, rlimit?: number): number {
  const limit = Math.min(rlimit ?? Number.POSITIVE_INFINITY, file.f_inode.i_sb.s_maxbytes);
  if (pos >= limit) throw errno('EFBIG');
  return Math.min(count, limit - pos);
}

/** What was written is on the device before a write with O_SYNC or O_DSYNC returns (generic_write_sync). Without i_rwsem. */
export function generic_write_sync(task: Task, iocb: Kiocb, file: File, count: number): Awaitable<number> {
  if (iocb.sync === false || count <= 0) return count;
  const done = vfs_fsync_range(task, file, iocb.ki_pos - count, iocb.ki_pos - 1, iocb.sync === 'dsync');
  return andThen(done, instead, count);
}
