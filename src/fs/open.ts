/** Opening and closing files (fs/open.c, fs/file_table.c). */
import { file_operations as rows } from '../contract/file.js';
import { inode_operations } from '../contract/inode.js';
import { call, take } from '../locking/context.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { do_truncate, file_remove_privs } from './attr.js';
import { d_alloc, dget, dput } from './dcache.js';
import type { Dentry } from './dentry.js';
import { File, FMODE_CREATED, FMODE_LSEEK, FMODE_OPENED, FMODE_READ, FMODE_WRITE } from './file.js';
import { I_MUTEX_PARENT, type Inode, S_APPEND } from './inode.js';
import { dirOf, lookup_locked, vfs_create } from './namei.js';
import { inode_permission, isDir, MAY_EXEC, MAY_READ, MAY_WRITE, may_create } from './permission.js';

const O_ACCMODE = 3;
const O_WRONLY = 1;
const O_RDWR = 2;
const O_EXCL = 0o200;
const O_TRUNC = 0o1000;
const O_APPEND = 0o2000;
const O_DIRECTORY = 0o200000;
const O_NOFOLLOW = 0o400000;

function modeOf(flags: number): number {
  const access = flags & O_ACCMODE;
  const read = access === O_WRONLY ? 0 : FMODE_READ;
  const write = access === O_WRONLY || access === O_RDWR ? FMODE_WRITE : 0;
  return read | write | FMODE_LSEEK;
}

/** What open(2) checks of the inode (may_open). @throws EISDIR ENOTDIR ELOOP EPERM EACCES EROFS */
function may_open(task: Task, inode: Inode, flags: number): Awaitable<void> {
  const mode = modeOf(flags);
  const type = inode.i_mode & 0o170000;
  if (type === 0o120000) throw errno((flags & O_NOFOLLOW) !== 0 ? 'ELOOP' : 'EINVAL');
  if (isDir(inode) && ((mode & FMODE_WRITE) !== 0 || (flags & O_TRUNC) !== 0)) throw errno('EISDIR');
  if (!isDir(inode) && (flags & O_DIRECTORY) !== 0) throw errno('ENOTDIR');
  if ((inode.i_flags & S_APPEND) !== 0) {
    if (((mode & FMODE_WRITE) !== 0 && (flags & O_APPEND) === 0) || (flags & O_TRUNC) !== 0) throw errno('EPERM');
  }
  const wanted =
    ((mode & FMODE_READ) !== 0 ? MAY_READ : 0) |
    ((mode & FMODE_WRITE) !== 0 || (flags & O_TRUNC) !== 0 ? MAY_WRITE : 0);
  return inode_permission(task, inode, wanted);
}

/**
 * Open what `dentry` names (vfs_open). @param killSuidgid drop setuid and setgid bits when O_TRUNC cuts it
 * @throws as may_open; ENOENT for a negative dentry
 */
export function vfs_open(task: Task, dentry: Dentry, flags: number, killSuidgid = false): Awaitable<File> {
  const inode = dentry.d_inode;
  if (inode === undefined) throw errno('ENOENT');
  return andThen(may_open(task, inode, flags), () => {
    const truncate = (flags & O_TRUNC) !== 0 && (inode.i_mode & 0o170000) === 0o100000;
    const ready = truncate ? truncated(task, dentry, killSuidgid) : undefined;
    return andThen(ready, () => do_dentry_open(task, dentry, inode, flags, 0));
  });
}

async function truncated(task: Task, dentry: Dentry, killSuidgid: boolean): Promise<void> {
  const inode = dentry.d_inode;
  if (inode !== undefined && killSuidgid) await file_remove_privs(task, dentry, inode);
  await do_truncate(task, dentry, 0, undefined);
}

/** Make the File and call ->open (do_dentry_open). Takes a reference to the dentry. */
function do_dentry_open(task: Task, dentry: Dentry, inode: Inode, flags: number, extra: number): Awaitable<File> {
  const file = new File(dget(dentry), inode, flags, modeOf(flags) | FMODE_OPENED | extra, task.cred);
  file.f_wb_err = file.f_mapping.wb_err.sample();
  if (modeOf(flags) & FMODE_WRITE) inode.i_writecount++;
  const { open } = file.f_op;
  if (open === undefined) return file;
  return andThen(
    call(task, rows.open, {}, () => open(task, inode, file)),
    () => file,
  );
}

/** close(2) of one descriptor of a file: ->flush. @throws what the filesystem reports, such as EIO or ENOSPC of delayed writes */
export function filp_flush(task: Task, file: File): Awaitable<void> {
  const { flush } = file.f_op;
  return flush === undefined ? undefined : call(task, rows.flush, {}, () => flush(task, file));
}

/** Give a reference to an open file back; the last one releases it (__fput). */
export function fput(task: Task, file: File): Awaitable<void> {
  if (--file.f_count > 0) return undefined;
  const { release } = file.f_op;
  const { f_inode: inode } = file;
  if ((file.f_mode & FMODE_WRITE) !== 0) inode.i_writecount--;
  const done = release === undefined ? undefined : call(task, rows.release, {}, () => release(task, inode, file));
  return andThen(done, () => dput(task, file.f_dentry));
}

export interface OpenedOrCreated {
  readonly file: File;
  /** With a reference of the caller's. */
  readonly dentry: Dentry;
  readonly created: boolean;
}

/**
 * open(2) with O_CREAT of a name in `parent`: the file is made if it is not there (lookup_open).
 * @throws EEXIST with O_EXCL; what creating and opening throw
 */
export async function open_or_create(
  task: Task,
  parent: Dentry,
  name: string,
  flags: number,
  mode: number,
): Promise<OpenedOrCreated> {
  const dir = dirOf(parent);
  const held = await take(task, inode_operations.create, 'dir', dir.i_rwsem, I_MUTEX_PARENT);
  let dentry: Dentry;
  let created = false;
  try {
    await inode_permission(task, dir, MAY_EXEC);
    dentry = await lookup_locked(task, parent, name);
    try {
      if (dentry.isNegative) {
        await may_create(task, dir, dentry);
        await vfs_create(task, dir, dentry, mode, (flags & O_EXCL) !== 0);
        created = true;
      } else if ((flags & O_EXCL) !== 0) throw errno('EEXIST');
    } catch (error) {
      await dput(task, dentry);
      throw error;
    }
  } finally {
    held.release();
  }
  try {
    const inode = dentry.d_inode;
    // A file that was just made is opened whatever its mode.
    const file =
      created && inode !== undefined
        ? await do_dentry_open(task, dentry, inode, flags, FMODE_CREATED)
        : await vfs_open(task, dentry, flags, false);
    return { file, dentry, created };
  } catch (error) {
    await dput(task, dentry);
    throw error;
  }
}

/** open(2) with O_TMPFILE: a file without a name in the filesystem of `parent` (vfs_tmpfile). @throws EOPNOTSUPP */
export async function vfs_tmpfile_open(task: Task, parent: Dentry, flags: number, mode: number): Promise<File> {
  const dir = dirOf(parent);
  await inode_permission(task, dir, MAY_WRITE | MAY_EXEC);
  const { tmpfile } = dir.i_op;
  if (tmpfile === undefined) throw errno('EOPNOTSUPP');
  const dentry = d_alloc(task, parent, '#tmpfile');
  try {
    // The inode comes with the call: until then the file stands on the directory's.
    const file = new File(dget(dentry), dir, flags, modeOf(flags) | FMODE_OPENED | FMODE_CREATED, task.cred);
    await call(task, inode_operations.tmpfile, { inode: dir.i_rwsem }, () =>
      tmpfile(task, dir, file, 0o100000 | (mode & 0o7777 & ~task.umask)),
    );
    const inode = dentry.d_inode;
    if (inode === undefined) throw errno('EIO');
    file.f_inode = inode;
    file.f_op = inode.i_fop;
    file.f_wb_err = file.f_mapping.wb_err.sample();
    if ((file.f_mode & FMODE_WRITE) !== 0) inode.i_writecount++;
    return file;
  } finally {
    await dput(task, dentry);
  }
}
