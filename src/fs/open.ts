/** Opening files by what they are named (fs/open.c, and the last step of a path in fs/namei.c). What an open file is, is in file-table.ts. */
import { inode_operations as rows } from '../contract/inode.js';
import { call, take } from '../locking/context.js';
import type { Held } from '../locking/held.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { Errno, errno, isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { do_truncate, inode_owner_or_capable } from './attr.js';
import { file_remove_privs } from './attr-privs.js';
import { d_alloc, d_alloc_parallel, d_lookup_done, dget, dput } from './dcache.js';
import type { Dentry } from './dentry.js';
import { File, FMODE_CREATED, FMODE_OPENED } from './file.js';
import { do_dentry_open, file_finish, fput, get_write_access, modeOf, put_write_access } from './file-table.js';
import { I_LINKABLE, I_MUTEX_NORMAL, type Inode, S_APPEND, S_DEAD } from './inode.js';
import { dirOf, LOOKUP_CREATE, LOOKUP_EXCL, LOOKUP_OPEN, lookup_dcache, lookup_locked, NAME_MAX } from './lookup.js';
import { vfs_create, vfs_prepare_mode } from './namei.js';
import { O_ACCMODE, O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NOATIME, O_TRUNC } from './open-flags.js';
import { inode_permission, isDir, MAY_EXEC, MAY_OPEN, MAY_READ, MAY_WRITE } from './permission.js';
import { mnt_want_write, sb_end_write, sb_start_write, type Writing, withWrite } from './super-freeze.js';

export { filp_flush, fput, get_file } from './file-table.js';

const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
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
  return andThen(inode_permission(task, inode, MAY_OPEN | mode), () => may_open_flags(task, inode, flags));
}

function may_open_flags(task: Task, inode: Inode, flags: number): void {
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
  const inode = dentry.d_inode;
  if (inode === undefined) throw errno('ENOENT');
  const cuts = (flags & O_TRUNC) !== 0 && (inode.i_mode & S_IFMT) === S_IFREG;
  const open = (): Awaitable<File> =>
    andThen(may_open(task, inode, flags), () => do_dentry_open(task, dentry, inode, flags, 0));
  if (!cuts) return open();
  return withWrite(task, dentry.d_sb, () => andThen(open(), (file) => handle_truncate(task, file, killSuidgid)));
}

/** Cut an open file to nothing; one that cannot be cut is closed again (handle_truncate). */
async function handle_truncate(task: Task, file: File, killSuidgid: boolean): Promise<File> {
  const { f_inode: inode, f_dentry: dentry } = file;
  try {
    get_write_access(inode);
    try {
      if (killSuidgid) await file_remove_privs(task, dentry, inode);
      await do_truncate(task, dentry, 0, undefined);
    } finally {
      put_write_access(inode);
    }
  } catch (error) {
    await fput(task, file);
    throw error;
  }
  return file;
}

export interface OpenedOrCreated {
  readonly file: File;
  /** With a reference of the caller's. */
  readonly dentry: Dentry;
  readonly created: boolean;
}

/**
 * open(2) with O_CREAT of a name in `parent`: the file is made if it is not there (open_last_lookups, lookup_open).
 * @param mode permission bits, not yet cut by the umask
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
  const creating = flags | O_CREAT;
  await inode_permission(task, dir, MAY_EXEC, { inode: dir.i_rwsem });
  // One that is there and may be there needs no lock.
  const known = (flags & O_EXCL) === 0 ? await lookup_dcache(task, parent, name, LOOKUP_OPEN) : undefined;
  if (known !== undefined && !known.isNegative) return openFound(task, known, creating);
  if (known !== undefined) await dput(task, known);
  let readOnly: Errno | undefined;
  let writing: Writing;
  try {
    writing = await mnt_want_write(task, dir.i_sb);
  } catch (error) {
    if (!isErrno(error, 'EROFS')) throw error;
    // A file that is there can be opened all the same.
    readOnly = error;
    writing = await sb_start_write(task, dir.i_sb);
  }
  try {
    const made = await lookup_open(task, parent, name, creating, mode, readOnly);
    if (made.file !== undefined) return await openedAtomically(task, made.file, made, creating);
    if (made.created) return await openCreated(task, made.dentry, creating);
    if ((flags & O_EXCL) !== 0) {
      await dput(task, made.dentry);
      throw errno('EEXIST');
    }
    return await openFound(task, made.dentry, creating);
  } finally {
    sb_end_write(writing);
  }
}

/** The filesystem has opened the file; one that was there before must still be one that the caller may open (do_open). */
async function openedAtomically(
  task: Task,
  file: File,
  { dentry, created }: Looked,
  flags: number,
): Promise<OpenedOrCreated> {
  try {
    if (!created) await may_open(task, file.f_inode, flags);
    return { file, dentry, created };
  } catch (error) {
    await fput(task, file);
    await dput(task, dentry);
    throw error;
  }
}

/** Open a file that was there before. Takes over the reference to the dentry. */
async function openFound(task: Task, dentry: Dentry, flags: number): Promise<OpenedOrCreated> {
  try {
    return { file: await vfs_open(task, dentry, flags, false), dentry, created: false };
  } catch (error) {
    await dput(task, dentry);
    throw error;
  }
}

/** Open a file that was just made, whatever its mode. Takes over the reference to the dentry. */
async function openCreated(task: Task, dentry: Dentry, flags: number): Promise<OpenedOrCreated> {
  try {
    const { d_inode: inode } = dentry;
    if (inode === undefined) throw errno('ENOENT');
    return { file: await do_dentry_open(task, dentry, inode, flags, FMODE_CREATED), dentry, created: true };
  } catch (error) {
    await dput(task, dentry);
    throw error;
  }
}

/** What became of a name: a file that atomic_open has opened, or else a dentry to be opened. */
interface Looked {
  readonly dentry: Dentry;
  readonly created: boolean;
  readonly file?: File;
}

/**
 * Look the name up, and make the file where it is not there, under one hold of the directory's i_rwsem (lookup_open).
 * @param readOnly why nothing may be made
 */
async function lookup_open(
  task: Task,
  parent: Dentry,
  name: string,
  flags: number,
  mode: number,
  readOnly: Errno | undefined,
): Promise<Looked> {
  const dir = dirOf(parent);
  using _held: Held<'i_rwsem'> = await take(task, rows.create, 'dir', dir.i_rwsem, I_MUTEX_NORMAL);
  if ((dir.i_flags & S_DEAD) !== 0) throw errno('ENOENT');
  const excl = (flags & O_EXCL) !== 0;
  if (dir.i_op.atomic_open !== undefined) return await atomic(task, parent, name, flags, mode, readOnly);
  const dentry = await lookup_locked(task, parent, name, LOOKUP_OPEN | LOOKUP_CREATE | (excl ? LOOKUP_EXCL : 0));
  if (!dentry.isNegative) return { dentry, created: false };
  try {
    if (readOnly !== undefined) throw readOnly;
    await inode_permission(task, dir, MAY_WRITE | MAY_EXEC);
    await vfs_create(task, dir, dentry, mode, excl);
    return { dentry, created: true };
  } catch (error) {
    await dput(task, dentry);
    throw error;
  }
}

/** Why the caller may not make anything in a directory, or undefined (may_o_create). */
async function refusal(task: Task, dir: Inode, readOnly: Errno | undefined): Promise<Errno | undefined> {
  if (readOnly !== undefined) return readOnly;
  try {
    await inode_permission(task, dir, MAY_WRITE | MAY_EXEC);
    return undefined;
  } catch (error) {
    if (error instanceof Errno) return error;
    throw error;
  }
}

/**
 * One call of the filesystem looks up, makes and opens (atomic_open), with i_rwsem of the directory held exclusively because of O_CREAT. It calls finish_open where it
 * did, and otherwise names the dentry for us to open. Who may not make files may find one all the same: then it is called without O_CREAT.
 */
async function atomic(
  task: Task,
  parent: Dentry,
  name: string,
  flags: number,
  mode: number,
  readOnly: Errno | undefined,
): Promise<Looked> {
  const dir = dirOf(parent);
  if (name.length > NAME_MAX) throw errno('ENAMETOOLONG');
  const intent = LOOKUP_OPEN | LOOKUP_CREATE | ((flags & O_EXCL) !== 0 ? LOOKUP_EXCL : 0);
  const cached = await lookup_dcache(task, parent, name, intent);
  if (cached !== undefined && !cached.isNegative) return { dentry: cached, created: false };
  const refused = await refusal(task, dir, readOnly);
  const { dentry } = cached === undefined ? await d_alloc_parallel(task, parent, name) : { dentry: cached };
  // The file has a reference of its own to the dentry.
  const file = new File(dget(dentry), dir, flags & ~(O_CREAT | O_EXCL | O_TRUNC), modeOf(flags), task.cred);
  let found = dentry;
  try {
    found =
      (await callAtomic(task, dir, dentry, file, refused === undefined ? flags : flags & ~O_CREAT, mode)) ?? dentry;
  } catch (error) {
    await dput(task, dentry);
    await dput(task, dentry);
    throw refused !== undefined && isErrno(error, 'ENOENT') ? refused : error;
  }
  const created = (file.f_mode & FMODE_CREATED) !== 0;
  if ((file.f_mode & FMODE_OPENED) !== 0) return { dentry, created, file };
  await dput(task, dentry);
  if (found !== dentry) await dput(task, dentry);
  return { dentry: found, created };
}

async function callAtomic(
  task: Task,
  dir: Inode,
  dentry: Dentry,
  file: File,
  flags: number,
  mode: number,
): Promise<Dentry | undefined> {
  const { atomic_open } = dir.i_op;
  const bits = vfs_prepare_mode(task, dir, mode, ANY_PERMISSION, S_IFREG);
  try {
    return await call(task, rows.atomic_open, { 'dir/create': dir.i_rwsem }, () =>
      atomic_open?.(task, dir, dentry, file, flags, bits),
    );
  } finally {
    d_lookup_done(dentry);
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
  return andThen(file_finish(task, file), () => {
    file.f_mode |= FMODE_OPENED;
  });
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
    await call(task, rows.tmpfile, { dir: dir.i_rwsem }, () => tmpfile(task, dir, file, bits));
    if ((file.f_mode & FMODE_OPENED) === 0) await finish_open(task, file);
  } catch (error) {
    await dput(task, dentry);
    throw error;
  }
  try {
    may_open_flags(task, file.f_inode, flags);
  } catch (error) {
    await fput(task, file);
    throw error;
  }
  if ((flags & O_EXCL) === 0) file.f_inode.i_state |= I_LINKABLE;
  return file;
}
