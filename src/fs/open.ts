/** Opening files by what they are named (fs/open.c, and the last step of a path in fs/namei.c). What an open file is, is in file-table.ts. */
import { inode_operations as rows } from '../contract/inode.js';
import { call, take } from '../locking/context.js';
import type { Held } from '../locking/held.js';
import { type Awaitable, andThen, orElse, withCleanup } from '../sched/awaitable.js';
import { type Errno, errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { type Looked, lookup_open_atomic, lookup_open_shared } from './atomic-open.js';
import { do_truncate, inode_owner_or_capable } from './attr.js';
import { file_remove_privs } from './attr-privs.js';
import { d_alloc, dput, putAndThrow } from './dcache.js';
import type { Dentry } from './dentry.js';
import { File, FMODE_CREATED, FMODE_OPENED } from './file.js';
import { do_dentry_open, file_finish, fput, get_write_access, modeOf, put_write_access } from './file-table.js';
import { I_LINKABLE, I_MUTEX_NORMAL, type Inode, S_APPEND, S_DEAD } from './inode.js';
import { dirOf, LOOKUP_CREATE, LOOKUP_EXCL, LOOKUP_OPEN, lookup_dcache, lookup_locked } from './lookup.js';
import { vfs_create, vfs_prepare_mode } from './namei.js';
import { O_ACCMODE, O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NOATIME, O_TRUNC } from './open-flags.js';
import { inode_permission, isDir, MAY_EXEC, MAY_OPEN, MAY_READ, MAY_WRITE } from './permission.js';
import { mnt_want_write_or_refusal, sb_end_write, withWrite } from './super-freeze.js';

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
export function open_or_create(
  task: Task,
  parent: Dentry,
  name: string,
  flags: number,
  mode: number,
): Awaitable<OpenedOrCreated> {
  const dir = dirOf(parent);
  const creating = flags | O_CREAT;
  const lookUp = (): Awaitable<Dentry | undefined> =>
    // One that is there and may be there needs no lock.
    (flags & O_EXCL) === 0 ? lookup_dcache(task, parent, name, LOOKUP_OPEN) : undefined;
  return andThen(inode_permission(task, dir, MAY_EXEC, { inode: dir.i_rwsem }), () =>
    andThen(lookUp(), (known) => {
      if (known !== undefined && !known.isNegative) return openFound(task, known, creating);
      return andThen(known === undefined ? undefined : dput(task, known), () =>
        createOrOpen(task, parent, name, creating, mode),
      );
    }),
  );
}

/** The name is not known to be there: make it, as a change to the filesystem. On a read-only one a file that is there can be opened all the same. */
function createOrOpen(
  task: Task,
  parent: Dentry,
  name: string,
  flags: number,
  mode: number,
): Awaitable<OpenedOrCreated> {
  const open = (made: Looked): Awaitable<OpenedOrCreated> => {
    if (made.file !== undefined) return openedAtomically(task, made.file, made, flags);
    if (made.created) return openCreated(task, made.dentry, flags);
    if ((flags & O_EXCL) === 0) return openFound(task, made.dentry, flags);
    return andThen(dput(task, made.dentry), () => {
      throw errno('EEXIST');
    });
  };
  return andThen(mnt_want_write_or_refusal(task, dirOf(parent).i_sb), ({ writing, refused }) =>
    withCleanup(
      () => andThen(lookup_open(task, parent, name, flags, mode, refused), open),
      () => sb_end_write(writing),
    ),
  );
}

/** The filesystem has opened the file; one that was there before must still be one that the caller may open (do_open). */
function openedAtomically(
  task: Task,
  file: File,
  { dentry, created }: Looked,
  flags: number,
): Awaitable<OpenedOrCreated> {
  if (created) return { file, dentry, created };
  return orElse(
    () => andThen(may_open(task, file.f_inode, flags), () => ({ file, dentry, created })),
    (error) => andThen(fput(task, file), () => putAndThrow(task, dentry, error)),
  );
}

/** Open a file that was there before. Takes over the reference to the dentry. */
function openFound(task: Task, dentry: Dentry, flags: number): Awaitable<OpenedOrCreated> {
  return orElse(
    () => andThen(vfs_open(task, dentry, flags, false), (file) => ({ file, dentry, created: false })),
    (error) => putAndThrow(task, dentry, error),
  );
}

/** Open a file that was just made, whatever its mode. Takes over the reference to the dentry. */
function openCreated(task: Task, dentry: Dentry, flags: number): Awaitable<OpenedOrCreated> {
  const { d_inode: inode } = dentry;
  return orElse(
    () => {
      if (inode === undefined) throw errno('ENOENT');
      const opened = do_dentry_open(task, dentry, inode, flags, FMODE_CREATED);
      return andThen(opened, (file) => ({ file, dentry, created: true }));
    },
    (error) => putAndThrow(task, dentry, error),
  );
}

/**
 * Look the name up, and make the file where it is not there, under one hold of the directory's i_rwsem (lookup_open).
 * @param readOnly why nothing may be made
 */
function lookup_open(
  task: Task,
  parent: Dentry,
  name: string,
  flags: number,
  mode: number,
  readOnly: Errno | undefined,
): Awaitable<Looked> {
  const dir = dirOf(parent);
  return inDirectory(dir, take(task, rows.create, 'dir', dir.i_rwsem, I_MUTEX_NORMAL), () =>
    dir.i_op.atomic_open !== undefined
      ? lookup_open_atomic(task, parent, name, flags, mode, readOnly)
      : lookup_or_create(task, parent, name, flags, mode, readOnly),
  );
}

/** Do `body` under the lock of a directory, once it is had, unless that was removed meanwhile. @throws ENOENT */
function inDirectory<T>(dir: Inode, taken: Awaitable<Held<'i_rwsem'>>, body: () => Awaitable<T>): Awaitable<T> {
  return andThen(taken, (held) =>
    withCleanup(
      () => {
        if ((dir.i_flags & S_DEAD) !== 0) throw errno('ENOENT');
        return body();
      },
      () => held.release(),
    ),
  );
}

/**
 * open(2) without O_CREAT of a name that the dcache does not know: the filesystem may open what it finds (lookup_open). Takes i_rwsem of the directory shared.
 * @returns undefined where it did not, or has no atomic_open, or the name is known: the walk goes on to it
 * @throws ENOENT EACCES; what opening throws
 */
export function open_uncached(task: Task, parent: Dentry, name: string, flags: number): Awaitable<File | undefined> {
  const dir = dirOf(parent);
  if (dir.i_op.atomic_open === undefined) return undefined;
  const looked = (): Awaitable<Looked> =>
    inDirectory(dir, take(task, rows.atomic_open, 'dir', dir.i_rwsem, I_MUTEX_NORMAL), () =>
      lookup_open_shared(task, parent, name, flags),
    );
  return andThen(inode_permission(task, dir, MAY_EXEC, { inode: dir.i_rwsem }), () =>
    andThen(lookup_dcache(task, parent, name, LOOKUP_OPEN), (known) => {
      if (known !== undefined) return andThen(dput(task, known), () => undefined);
      return andThen(looked(), (found) => {
        const opened = found.file === undefined ? undefined : openedAtomically(task, found.file, found, flags);
        return andThen(opened, (done) => andThen(dput(task, found.dentry), () => done?.file));
      });
    }),
  );
}

/** As lookup_open, where the filesystem does one after the other. */
function lookup_or_create(
  task: Task,
  parent: Dentry,
  name: string,
  flags: number,
  mode: number,
  readOnly: Errno | undefined,
): Awaitable<Looked> {
  const dir = dirOf(parent);
  const excl = (flags & O_EXCL) !== 0;
  const intent = LOOKUP_OPEN | LOOKUP_CREATE | (excl ? LOOKUP_EXCL : 0);
  return andThen(lookup_locked(task, parent, name, intent), (dentry) => {
    if (!dentry.isNegative) return { dentry, created: false };
    return orElse(
      () => {
        if (readOnly !== undefined) throw readOnly;
        return andThen(inode_permission(task, dir, MAY_WRITE | MAY_EXEC), () =>
          andThen(vfs_create(task, dir, dentry, mode, excl), () => ({ dentry, created: true })),
        );
      },
      (error) => putAndThrow(task, dentry, error),
    );
  });
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
