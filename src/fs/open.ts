/** Opening what a dentry names (fs/open.c, fs/namei.c do_open). What an open file is, is in file-table.ts; the last name of a path is looked up in namei/open-last.ts. */
import { inode_operations as rows } from '../contract/inode.js';
import { call } from '../locking/context.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { O_ACCMODE, O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NOATIME, O_TRUNC } from '../uapi/fcntl.js';
import { S_IFLNK, S_IFMT, S_IFREG } from '../uapi/stat.js';
import { do_truncate } from './attr.js';
import { file_remove_privs } from './attr-privs.js';
import { d_alloc, dput } from './dcache.js';
import type { Dentry } from './dentry.js';
import { File, FMODE_CREATED, FMODE_OPENED } from './file.js';
import { do_dentry_open, file_finish, fput, get_write_access, modeOf, put_write_access } from './file-table.js';
import { I_LINKABLE, type Inode, inode_state_change, isDir, S_APPEND } from './inode.js';
import { inode_owner_or_capable } from './inode-owner.js';
import { dirOf } from './namei/lookup.js';
import { inode_permission, MAY_EXEC, MAY_OPEN, MAY_READ, MAY_WRITE } from './namei/permission.js';
import { vfs_prepare_mode } from './namei.js';
import { assert_sb_write_started, withWrite } from './super-freeze.js';

const ANY_PERMISSION = 0o7777;

/** MAY_* that opening with O_* asks for (ACC_MODE). */
function wanted(flags: number): number {
  const mode = flags & O_ACCMODE;
  const read = mode === 1 ? 0 : MAY_READ;
  const write = mode === 0 && (flags & O_TRUNC) === 0 ? 0 : MAY_WRITE;
  return read | write;
}

/** What open(2) checks of the inode (may_open). @throws EISDIR ENOTDIR ELOOP EPERM EACCES EROFS */
function may_open(task: Task, inode: Inode, flags: number): Awaitable<void> {
  const mode = wanted(flags);
  if ((inode.i_mode & S_IFMT) === S_IFLNK) throw errno('ELOOP');
  const directory = isDir(inode);
  if (directory && ((flags & O_CREAT) !== 0 || (mode & MAY_WRITE) !== 0)) throw errno('EISDIR');
  if (!directory && (flags & O_DIRECTORY) !== 0) throw errno('ENOTDIR');
  return andThen(inode_permission(task, inode, MAY_OPEN | mode), may_open_flags, task, inode, flags);
}

function may_open_flags(_may: void, task: Task, inode: Inode, flags: number): void {
  if ((inode.i_flags & S_APPEND) !== 0) {
    if ((flags & O_ACCMODE) !== 0 && (flags & O_APPEND) === 0) throw errno('EPERM');
    if ((flags & O_TRUNC) !== 0) throw errno('EPERM');
  }
  if ((flags & O_NOATIME) !== 0 && !task.permitted && !inode_owner_or_capable(task, inode)) throw errno('EPERM');
}

/**
 * Open what `dentry` names, and cut it where the flags say so (do_open).
 * @param killSuidgid drop setuid and setgid bits when O_TRUNC cuts it, whoever the caller is
 * @throws as may_open and do_dentry_open; ENOENT for a negative dentry
 */
export function vfs_open(task: Task, dentry: Dentry, flags: number, killSuidgid = false): Awaitable<File> {
  return openAndCut(task, dentry, flags, killSuidgid, undefined);
}

/** As vfs_open. @param opened by the filesystem already: whether the caller may have it is seen only now. It stays the caller's where this fails */
export function openAndCut(
  task: Task,
  dentry: Dentry,
  flags: number,
  killSuidgid: boolean,
  opened: File | undefined,
): Awaitable<File> {
  const inode = dentry.d_inode;
  if (inode === undefined) throw errno('ENOENT');
  const cuts = (flags & O_TRUNC) !== 0 && (inode.i_mode & S_IFMT) === S_IFREG;
  if (!cuts) return mayOpenAndOpen(task, dentry, inode, flags, opened);
  return withWrite(task, dentry.d_sb, async () => {
    const file = await mayOpenAndOpen(task, dentry, inode, flags, opened);
    try {
      await handle_truncate(task, file, killSuidgid);
    } catch (error) {
      if (opened === undefined) await fput(task, file);
      throw error;
    }
    return file;
  });
}

function mayOpenAndOpen(
  task: Task,
  dentry: Dentry,
  inode: Inode,
  flags: number,
  opened: File | undefined,
): Awaitable<File> {
  return andThen(may_open(task, inode, flags), openPermitted, task, dentry, inode, flags, opened);
}

function openPermitted(
  _may: void,
  task: Task,
  dentry: Dentry,
  inode: Inode,
  flags: number,
  opened: File | undefined,
): Awaitable<File> {
  return opened ?? do_dentry_open(task, dentry, inode, flags, 0);
}

/** Cut an open file to nothing (handle_truncate). */
async function handle_truncate(task: Task, file: File, killSuidgid: boolean): Promise<void> {
  const { f_inode: inode, f_dentry: dentry } = file;
  get_write_access(inode);
  try {
    if (killSuidgid) await file_remove_privs(task, dentry, inode);
    await do_truncate(task, dentry, 0, undefined);
  } finally {
    put_write_access(inode);
  }
}

/**
 * For atomic_open and tmpfile: the file is open now, on what its dentry names (finish_open).
 * @throws ENOENT ETXTBSY; what ->open throws
 */
export function finish_open(task: Task, file: File): Awaitable<void> {
  const inode = file.f_dentry.d_inode;
  if (inode === undefined) throw errno('ENOENT');
  file.f_inode = inode;
  file.f_op = inode.i_fop;
  file.f_wb_err = file.f_mapping.wb_err.sample();
  return andThen(file_finish(task, file), finished, file);
}

function finished(_opened: void, file: File): void {
  file.f_mode |= FMODE_OPENED;
}

/**
 * open(2) with O_TMPFILE: a file without a name in the filesystem of `parent` (vfs_tmpfile). It can be given one by link, unless O_EXCL says that it never will.
 * @throws EOPNOTSUPP where the filesystem cannot; EACCES EROFS ENOSPC; EPERM for O_NOATIME
 */
export function vfs_tmpfile_open(task: Task, parent: Dentry, flags: number, mode: number): Awaitable<File> {
  return withWrite(task, parent.d_sb, () => vfs_tmpfile(task, parent, flags, mode));
}

async function vfs_tmpfile(task: Task, parent: Dentry, flags: number, mode: number): Promise<File> {
  const dir = dirOf(parent);
  await inode_permission(task, dir, MAY_WRITE | MAY_EXEC);
  const { tmpfile } = dir.i_op;
  if (tmpfile === undefined) throw errno('EOPNOTSUPP');
  const dentry = d_alloc(task, parent, '/');
  // The inode comes with the call: until then the file stands on the directory's. It takes the reference to the dentry.
  const file = new File(dentry, dir, flags & ~(O_CREAT | O_EXCL | O_TRUNC), modeOf(flags) | FMODE_CREATED, task.cred);
  try {
    const bits = vfs_prepare_mode(task, dir, mode, ANY_PERMISSION, S_IFREG);
    assert_sb_write_started(task, dir.i_sb);
    await call(task, rows.tmpfile, { dir: dir.i_rwsem }, () => tmpfile(task, dir, file, bits));
    if ((file.f_mode & FMODE_OPENED) === 0) await finish_open(task, file);
  } catch (error) {
    await dput(task, dentry);
    throw error;
  }
  try {
    may_open_flags(undefined, task, file.f_inode, flags);
  } catch (error) {
    await fput(task, file);
    throw error;
  }
  if ((flags & O_EXCL) === 0) inode_state_change(task, file.f_inode, I_LINKABLE);
  return file;
}
