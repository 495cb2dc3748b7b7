/** The last name of a path that is to be opened (fs/namei.c): looked up, made with O_CREAT, or opened by the filesystem in the same step. */
import { inode_operations as rows } from '../../contract/inode.js';
import { take } from '../../locking/context.js';
import { type Held, release_held } from '../../locking/held.js';
import { type Awaitable, andThen, orElse, withCleanup } from '../../sched/awaitable.js';
import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { O_CREAT, O_EXCL } from '../../uapi/fcntl.js';
import { dput, putAndThrow } from '../dcache.js';
import type { Dentry } from '../dentry.js';
import { type File, FMODE_CREATED } from '../file.js';
import { do_dentry_open, fput } from '../file-table.js';
import { I_MUTEX_NORMAL, S_DEAD } from '../inode.js';
import { vfs_create } from '../namei.js';
import { openAndCut } from '../open.js';
import { mnt_want_write_or_refusal, sb_end_write, type WriteOrRefusal, type Writing } from '../super-freeze.js';
import { type LastName, type Looked, lookup_open_atomic, lookup_open_shared } from './atomic-open.js';
import {
  dirOf,
  LOOKUP_CREATE,
  LOOKUP_EXCL,
  LOOKUP_OPEN,
  lookup_dcache,
  lookup_locked,
  lookup_permitted,
} from './lookup.js';
import { inode_permission, MAY_EXEC, MAY_WRITE } from './permission.js';

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

/** What do_open returns. */
export function opened(file: File, { dentry, created }: Looked): OpenedOrCreated {
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
