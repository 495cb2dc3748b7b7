/** Open files: from the opening of an inode to the last close (fs/open.c do_dentry_open, fs/file_table.c). */

import { file_operations as rows } from '../contract/file.js';
import { invoke } from '../locking/context.js';
import { type Awaitable, andThen, instead, orElse, withCleanup } from '../sched/awaitable.js';
import { Errno, errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { FASYNC, O_ACCMODE, O_CREAT, O_EXCL, O_NOCTTY, O_TRUNC } from '../uapi/fcntl.js';
import { S_IFBLK, S_IFCHR, S_IFIFO, S_IFMT, S_IFSOCK } from '../uapi/stat.js';
import { def_blk_fops } from './block-dev.js';
import { d_real, dget, dput, putAndThrow } from './dcache.js';
import type { Dentry } from './dentry.js';
import { File, FMODE_LSEEK, FMODE_OPENED, FMODE_READ, FMODE_WRITE } from './file.js';
import type { Inode } from './inode.js';
import { break_lease } from './locks/break-lease.js';
import { locks_remove_file } from './locks.js';
import { fifo_open, pipefifo_fops } from './pipe.js';

/** FMODE_* of O_* (OPEN_FMODE). */
export function modeOf(flags: number): number {
  // 0, 1, 2 are read, write, both; 3 is neither: for ioctl only.
  return ((flags + 1) & O_ACCMODE) | FMODE_LSEEK;
}

/** The dentry of an open file in the filesystem of its inode, whatever the name by which it was opened (file_dentry). No reference. */
export function file_dentry(task: Task, { f_dentry: dentry, f_inode: inode }: File): Dentry {
  return dentry.d_inode === inode ? dentry : d_real(task, dentry, inode);
}

/** Somebody is going to write (get_write_access). @throws ETXTBSY while it is executed or used for swapping */
export function get_write_access(inode: Inode): void {
  if (inode.i_writecount < 0) throw errno('ETXTBSY');
  inode.i_writecount++;
}

/** A writer is gone (put_write_access). */
export function put_write_access(inode: Inode): void {
  inode.i_writecount--;
}

/** Keep writers out (deny_write_access). @throws ETXTBSY where there are some */
export function deny_write_access(inode: Inode): void {
  if (inode.i_writecount > 0) throw errno('ETXTBSY');
  inode.i_writecount--;
}

/** Writers may come again (allow_write_access). */
export function allow_write_access(inode: Inode): void {
  inode.i_writecount++;
}

/** Count a file among the openers of its inode, as long as it is open. @throws ETXTBSY */
function file_accounts(file: File): void {
  const { f_inode: inode, f_mode: mode } = file;
  if ((mode & FMODE_WRITE) !== 0) get_write_access(inode);
  else if ((mode & FMODE_READ) !== 0) inode.i_readcount++;
}

function file_unaccounts(file: File): void {
  const { f_inode: inode, f_mode: mode } = file;
  if ((mode & FMODE_WRITE) !== 0) put_write_access(inode);
  else if ((mode & FMODE_READ) !== 0) inode.i_readcount--;
}

/**
 * Make the File, break the leases in its way, and call ->open (do_dentry_open). Takes a reference to the dentry.
 * @param extra FMODE_* besides those of the flags
 * @throws ETXTBSY; ENXIO for a socket, a character device, and a disk that is not there; EAGAIN for a lease with O_NONBLOCK, EINTR while waiting for one; what ->open throws
 */
export function do_dentry_open(
  task: Task,
  dentry: Dentry,
  inode: Inode,
  flags: number,
  extra: number,
): Awaitable<File> {
  const type = inode.i_mode & S_IFMT;
  // There are no drivers of character devices here.
  if (type === S_IFSOCK || type === S_IFCHR) throw errno('ENXIO');
  // Who opens a disk with O_EXCL wants it for himself: its open looks at that.
  const kept = flags & ~(O_CREAT | (type === S_IFBLK ? 0 : O_EXCL) | O_NOCTTY | O_TRUNC);
  const file = new File(dentry, inode, kept, modeOf(flags) | FMODE_OPENED | extra, task.cred);
  if (type === S_IFBLK) file.f_op = def_blk_fops;
  file_accounts(file);
  dget(dentry);
  // Of special files there are no pages to speak of.
  if (inode.mappingIfAny !== undefined || inode.i_fop.read_iter !== undefined) {
    file.f_wb_err = file.f_mapping.wb_err.sample();
  }
  return andThen(orElse(callOpen, openFailed, task, inode, file, flags), instead, file);
}

function callOpen(task: Task, inode: Inode, file: File, flags: number): Awaitable<void> {
  return andThen(break_lease(task, inode, flags), openUnleased, task, inode, file);
}

function openUnleased(_broken: void, task: Task, inode: Inode, file: File): Awaitable<void> {
  if ((inode.i_mode & S_IFMT) === S_IFIFO) return openFifo(task, inode, file);
  const { open } = file.f_op;
  return open === undefined ? undefined : invoke(task, rows.open, {}, open, inode, file);
}

function openFailed(error: unknown, task: Task, _inode: Inode, file: File): Awaitable<never> {
  file_unaccounts(file);
  return putAndThrow(error, task, file.f_dentry);
}

/** The end of opening a file whose inode has come only now: it is counted, and ->open called. @throws ETXTBSY; what ->open throws */
export function file_finish(task: Task, file: File): Awaitable<void> {
  const { f_inode: inode } = file;
  file_accounts(file);
  if (file.f_op.open === undefined) return undefined;
  return orElse(finishOpen, finishFailed, task, inode, file);
}

function finishOpen(task: Task, inode: Inode, file: File): Awaitable<void> {
  const { open } = file.f_op;
  return open === undefined ? undefined : invoke(task, rows.open, {}, open, inode, file);
}

function finishFailed(error: unknown, _task: Task, _inode: Inode, file: File): never {
  file_unaccounts(file);
  throw error;
}

function openFifo(task: Task, inode: Inode, file: File): Promise<void> {
  file.f_op = pipefifo_fops;
  return fifo_open(task, inode, file);
}

/** close(2) of one descriptor of a file: ->flush (filp_flush). @throws what the filesystem reports, such as EIO or ENOSPC of delayed writes */
export function filp_flush(task: Task, file: File): Awaitable<void> {
  const { flush } = file.f_op;
  return flush === undefined ? undefined : invoke(task, rows.flush, {}, flush, file);
}

/** Take another reference to an open file (get_file). */
export function get_file(file: File): File {
  file.f_count++;
  return file;
}

/**
 * Give a reference to an open file back; the last one drops its locks and leases and releases it (__fput).
 * @throws what dropping its locks and its name reports: the file is closed all the same
 */
export function fput(task: Task, file: File): Awaitable<void> {
  if (--file.f_count > 0) return undefined;
  return withCleanup(unlockAndRelease, putDentry, task, file);
}

function unlockAndRelease(task: Task, file: File): Awaitable<void> {
  return withCleanup(unlock, release, task, file);
}

function unlock(task: Task, file: File): Awaitable<void> {
  return locks_remove_file(task, file);
}

/** What ->fasync and ->release say of it is nobody's business: the file is closed, and close(2) has told what ->flush has said. */
function release(task: Task, file: File): Awaitable<void> {
  const { fasync } = file.f_op;
  const silenced =
    (file.f_flags & FASYNC) !== 0 && fasync !== undefined
      ? orElse(() => invoke(task, rows.fasync, {}, fasync, -1, file, false), ignored)
      : undefined;
  return andThen(silenced, releaseFile, task, file);
}

function releaseFile(_silenced: unknown, task: Task, file: File): Awaitable<void> {
  const { release: operation } = file.f_op;
  if (operation === undefined) return undefined;
  try {
    const released = invoke(task, rows.release, {}, operation, file.f_inode, file);
    return released instanceof Promise ? released.catch(ignored) : undefined;
  } catch (error) {
    return ignored(error);
  }
}

function ignored(error: unknown): void {
  if (!(error instanceof Errno)) throw error;
}

function putDentry(task: Task, file: File): Awaitable<void> {
  file_unaccounts(file);
  return dput(task, file.f_dentry);
}
