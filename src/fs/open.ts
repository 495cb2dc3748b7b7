/** Opening files by what they are named (fs/open.c, and the last step of a path in fs/namei.c). What an open file is, is in file-table.ts. */

import { inode_operations as rows } from '../contract/inode.js';
import { call, take } from '../locking/context.js';
import { type Held, release_held } from '../locking/held.js';
import { type Awaitable, andThen, orElse, withCleanup } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { O_ACCMODE, O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NOATIME, O_TRUNC } from '../uapi/fcntl.js';
import { S_IFLNK, S_IFMT, S_IFREG } from '../uapi/stat.js';
import { do_truncate } from './attr.js';
import { file_remove_privs } from './attr-privs.js';
import { d_alloc, dput, putAndThrow } from './dcache.js';
import type { Dentry } from './dentry.js';
import { File, FMODE_CREATED, FMODE_OPENED } from './file.js';
import { do_dentry_open, file_finish, fput, get_write_access, modeOf, put_write_access } from './file-table.js';
import { I_LINKABLE, I_MUTEX_NORMAL, type Inode, inode_state_change, isDir, S_APPEND, S_DEAD } from './inode.js';
import { inode_owner_or_capable } from './inode-owner.js';
import { type LastName, type Looked, lookup_open_atomic, lookup_open_shared } from './namei/atomic-open.js';
import {
  dirOf,
  LOOKUP_CREATE,
  LOOKUP_EXCL,
  LOOKUP_OPEN,
  lookup_dcache,
  lookup_locked,
  lookup_permitted,
} from './namei/lookup.js';
import { inode_permission, MAY_EXEC, MAY_OPEN, MAY_READ, MAY_WRITE } from './namei/permission.js';
import { vfs_create, vfs_prepare_mode } from './namei.js';
import {
  assert_sb_write_started,
  mnt_want_write_or_refusal,
  sb_end_write,
  type WriteOrRefusal,
  type Writing,
  withWrite,
} from './super-freeze.js';

export { filp_flush, fput, get_file } from './file-table.js';

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
  if ((flags & O_NOATIME) !== 0 && !inode_owner_or_capable(task, inode)) throw errno('EPERM');
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
function openAndCut(
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

export interface OpenedOrCreated {
  readonly file: File;
  /** With a reference of the caller's. */
  readonly dentry: Dentry;
  readonly created: boolean;
}

/**
 * open(2) with O_CREAT of a name in `parent`: the file is made if it is not there.
 * @param mode permission bits, not yet cut by the umask
 * @throws EEXIST with O_EXCL; what creating and opening throw
 */
export function open_or_create(
  task: Task,
  parent: Dentry,
  name: string,
  flags: number,
  mode: number,
): Awaitable<OpenedOrCreated> {
  const dir = dirOf(parent);
  const may = inode_permission(task, dir, MAY_EXEC, { inode: dir.i_rwsem });
  const looked = andThen(may, lookUpLast, task, parent, name, flags | O_CREAT, mode);
  return andThen(looked, openLast, task, flags | O_CREAT);
}

function lookUpLast(
  _may: void,
  task: Task,
  parent: Dentry,
  name: string,
  flags: number,
  mode: number,
): Awaitable<Looked> {
  return open_last_lookups(task, parent, name, flags, mode);
}

function openLast(looked: Looked, task: Task, flags: number): Awaitable<OpenedOrCreated> {
  return do_open(task, looked, flags);
}

/**
 * The last name of a path that is to be opened, for a caller who may search the directory (open_last_lookups): it is looked up, with O_CREAT made, and may be opened by
 * the filesystem in the same step. What is known needs no lock; else i_rwsem of the directory is taken, exclusively with O_CREAT, as a change to the filesystem.
 * @param mode permission bits, not yet cut by the umask
 * @returns what there is now, which without O_CREAT may be nothing, with references; do_open opens it
 * @throws EACCES EROFS and the like, where it would have to be made; ENOENT ENAMETOOLONG; what the filesystem throws
 */
export function open_last_lookups(
  task: Task,
  parent: Dentry,
  name: string,
  flags: number,
  mode: number,
): Awaitable<Looked> {
  const exclusive = (flags & O_CREAT) !== 0 && (flags & O_EXCL) !== 0;
  const known = exclusive ? undefined : lookup_dcache(task, parent, name, LOOKUP_OPEN);
  return andThen(known, openKnown, task, { parent, name, flags, mode, refused: undefined });
}

function openKnown(known: Dentry | undefined, task: Task, last: LastName): Awaitable<Looked> {
  const creates = (last.flags & O_CREAT) !== 0;
  if (known !== undefined && !(creates && known.isNegative)) return { dentry: known, created: false };
  if (!creates) return lookup_shared(task, last);
  return andThen(known === undefined ? undefined : dput(task, known), lookup_or_make, task, last);
}

/** Without O_CREAT the filesystem may open what it finds. Takes i_rwsem of the directory shared. */
function lookup_shared(task: Task, last: LastName): Awaitable<Looked> {
  const dir = dirOf(last.parent);
  if (dir.i_op.atomic_open === undefined) {
    return andThen(lookup_permitted(task, last.parent, last.name, LOOKUP_OPEN), (dentry) => ({
      dentry,
      created: false,
    }));
  }
  const locked = take(task, rows.atomic_open, 'dir', dir.i_rwsem, I_MUTEX_NORMAL);
  return andThen(locked, inDirectory, task, last, lookup_open_shared);
}

/** With O_CREAT it is a change to the filesystem; on a read-only one a file that is there can be opened all the same. */
function lookup_or_make(_put: void, task: Task, last: LastName): Awaitable<Looked> {
  return andThen(mnt_want_write_or_refusal(task, dirOf(last.parent).i_sb), makeAsWriter, task, last);
}

function makeAsWriter({ writing, refused }: WriteOrRefusal, task: Task, last: LastName): Awaitable<Looked> {
  return withCleanup(lookup_open, sb_end_write, writing, task, refused === undefined ? last : { ...last, refused });
}

/**
 * Open what open_last_lookups has found or made (do_open). What was just made is open whatever its mode. Takes over the references.
 * @throws EEXIST with O_EXCL for what was there before; as vfs_open
 */
export function do_open(task: Task, looked: Looked, flags: number): Awaitable<OpenedOrCreated> {
  return andThen(orElse(openLooked, putLooked, task, looked, flags), opened, looked);
}

function opened(file: File, { dentry, created }: Looked): OpenedOrCreated {
  return { file, dentry, created };
}

function putLooked(error: unknown, task: Task, { dentry, file }: Looked): Awaitable<never> {
  return andThen(file === undefined ? undefined : fput(task, file), () => putAndThrow(error, task, dentry));
}

function openLooked(task: Task, { dentry, created, file }: Looked, flags: number): Awaitable<File> {
  if (!created) {
    if ((flags & O_CREAT) !== 0 && (flags & O_EXCL) !== 0) throw errno('EEXIST');
    return openAndCut(task, dentry, flags, false, file);
  }
  if (file !== undefined) return file;
  const { d_inode: inode } = dentry;
  if (inode === undefined) throw errno('ENOENT');
  return do_dentry_open(task, dentry, inode, flags, FMODE_CREATED);
}

/** Look the name up, and make the file where it is not there, under one hold of the directory's i_rwsem (lookup_open). */
function lookup_open(_writing: Writing, task: Task, last: LastName): Awaitable<Looked> {
  const dir = dirOf(last.parent);
  const body = dir.i_op.atomic_open !== undefined ? lookup_open_atomic : lookup_or_create;
  return andThen(take(task, rows.create, 'dir', dir.i_rwsem, I_MUTEX_NORMAL), inDirectory, task, last, body);
}

/** Do `body` under the lock of a directory, once it is had, unless that was removed meanwhile. @throws ENOENT */
function inDirectory(held: Held, task: Task, last: LastName, body: typeof lookup_or_create): Awaitable<Looked> {
  return withCleanup(unlessDead, release_held, held, task, last, body);
}

function unlessDead(_held: Held, task: Task, last: LastName, body: typeof lookup_or_create): Awaitable<Looked> {
  if ((dirOf(last.parent).i_flags & S_DEAD) !== 0) throw errno('ENOENT');
  return body(task, last);
}

/** As lookup_open, where the filesystem does one after the other. */
function lookup_or_create(task: Task, last: LastName): Awaitable<Looked> {
  const intent = LOOKUP_OPEN | LOOKUP_CREATE | ((last.flags & O_EXCL) !== 0 ? LOOKUP_EXCL : 0);
  return andThen(lookup_locked(task, last.parent, last.name, intent), createUnlessThere, task, last);
}

function createUnlessThere(dentry: Dentry, task: Task, last: LastName): Awaitable<Looked> {
  if (!dentry.isNegative) return { dentry, created: false };
  return orElse(createNegative, putAndThrow, task, dentry, last);
}

function createNegative(task: Task, dentry: Dentry, last: LastName): Awaitable<Looked> {
  if (last.refused !== undefined) throw last.refused;
  const may = inode_permission(task, dirOf(last.parent), MAY_WRITE | MAY_EXEC);
  return andThen(andThen(may, createPermitted, task, dentry, last), () => ({ dentry, created: true }));
}

function createPermitted(_may: void, task: Task, dentry: Dentry, { parent, mode, flags }: LastName): Awaitable<void> {
  return vfs_create(task, dirOf(parent), dentry, mode, (flags & O_EXCL) !== 0);
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
