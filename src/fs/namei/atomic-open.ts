/** Looking up, making and opening a file by one call of its filesystem (fs/namei.c atomic_open). */

import { inode_operations as rows } from '../../contract/inode.js';
import { invoke } from '../../locking/context.js';
import { type Awaitable, andThen, nothing, orElse, withCleanup } from '../../sched/awaitable.js';
import { Errno, errno, isErrno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { O_CREAT, O_EXCL, O_TRUNC } from '../../uapi/fcntl.js';
import { NAME_MAX } from '../../uapi/limits.js';
import { S_IALLUGO, S_IFREG } from '../../uapi/stat.js';
import { dget, dput, putAndThrow } from '../dcache.js';
import { type AllocatedParallel, d_alloc_parallel, d_in_lookup, d_lookup_done } from '../dcache-parallel.js';
import type { Dentry } from '../dentry.js';
import { File, FMODE_CREATED, FMODE_OPENED } from '../file.js';
import { modeOf } from '../file-table.js';
import type { Inode } from '../inode.js';
import { vfs_prepare_mode } from '../namei.js';
import { assert_sb_write_started } from '../super-freeze.js';
import { dirOf, LOOKUP_CREATE, LOOKUP_EXCL, LOOKUP_OPEN, lookup_dcache } from './lookup.js';
import { inode_permission, MAY_EXEC, MAY_WRITE } from './permission.js';

/** The last name of a path that is to be opened, and how. */
export interface LastName {
  readonly parent: Dentry;
  readonly name: string;
  /** O_* */
  readonly flags: number;
  /** Permission bits of what is made, not yet cut by the umask. */
  readonly mode: number;
  /** Why nothing may be made, if anything speaks against it. */
  readonly refused: Errno | undefined;
}

/** What became of a name: a file that atomic_open has opened, or else a dentry to be opened. */
export interface Looked {
  readonly dentry: Dentry;
  readonly created: boolean;
  readonly file?: File;
}

/** Why the caller may not make anything in the directory, or undefined (may_o_create). */
function refusal(task: Task, { parent, refused }: LastName): Awaitable<Errno | undefined> {
  return refused ?? orElse(permitted, refusedBy, task, dirOf(parent));
}

function permitted(task: Task, dir: Inode): Awaitable<Errno | undefined> {
  return andThen(inode_permission(task, dir, MAY_WRITE | MAY_EXEC), nothing);
}

function refusedBy(error: unknown): Errno {
  if (error instanceof Errno) return error;
  throw error;
}

/**
 * One call of the filesystem looks up, makes and opens (atomic_open), with i_rwsem of the directory held exclusively because of O_CREAT. It calls finish_open where it
 * did, and otherwise names the dentry for us to open. Who may not make files may find one all the same: then it is called without O_CREAT.
 * @throws ENAMETOOLONG; EACCES EROFS where it would have to be made; what ->atomic_open throws
 */
export function lookup_open_atomic(task: Task, last: LastName): Awaitable<Looked> {
  const { parent, name, flags } = last;
  dirOf(parent);
  if (name.length > NAME_MAX) throw errno('ENAMETOOLONG');
  const intent = LOOKUP_OPEN | LOOKUP_CREATE | ((flags & O_EXCL) !== 0 ? LOOKUP_EXCL : 0);
  return andThen(lookup_dcache(task, parent, name, intent), openUncached, task, last);
}

function openUncached(cached: Dentry | undefined, task: Task, last: LastName): Awaitable<Looked> {
  if (cached !== undefined && !cached.isNegative) return { dentry: cached, created: false };
  return andThen(refusal(task, last), allocUnlessCached, task, last, cached);
}

function allocUnlessCached(
  refused: Errno | undefined,
  task: Task,
  last: LastName,
  cached: Dentry | undefined,
): Awaitable<Looked> {
  if (cached !== undefined) return atomicOf(task, last, cached, refused);
  return andThen(d_alloc_parallel(task, last.parent, last.name), openAllocated, task, last, refused);
}

function openAllocated(
  { dentry }: AllocatedParallel,
  task: Task,
  last: LastName,
  refused: Errno | undefined,
): Awaitable<Looked> {
  return atomicOf(task, last, dentry, refused);
}

/**
 * As lookup_open_atomic, without O_CREAT and with i_rwsem of the directory held shared: of a name that the dcache did not know a moment ago.
 * @throws ENOENT where there is nothing; ENAMETOOLONG; what ->atomic_open throws
 */
export function lookup_open_shared(task: Task, last: LastName): Awaitable<Looked> {
  if (last.name.length > NAME_MAX) throw errno('ENAMETOOLONG');
  return andThen(d_alloc_parallel(task, last.parent, last.name), openUnlessKnown, task, last);
}

/** Somebody else may have been faster. */
function openUnlessKnown({ dentry }: AllocatedParallel, task: Task, last: LastName): Awaitable<Looked> {
  return d_in_lookup(dentry) ? atomicOf(task, last, dentry, undefined) : { dentry, created: false };
}

/** As lookup_open_atomic, of a dentry that is not known to be positive, whose reference it takes over. @param refused why nothing may be made */
function atomicOf(task: Task, last: LastName, dentry: Dentry, refused: Errno | undefined): Awaitable<Looked> {
  const { parent, flags } = last;
  // The file has a reference of its own to the dentry.
  const kept = flags & ~(O_CREAT | O_EXCL | O_TRUNC);
  const file = new File(dget(dentry), dirOf(parent), kept, modeOf(flags), task.cred);
  return andThen(orElse(callAtomic, atomicFailed, task, last, dentry, file, refused), atomicDone, task, dentry, file);
}

function atomicFailed(
  error: unknown,
  task: Task,
  _last: LastName,
  dentry: Dentry,
  _file: File,
  refused: Errno | undefined,
): Awaitable<never> {
  const why = refused !== undefined && isErrno(error, 'ENOENT') ? refused : error;
  return andThen(dput(task, dentry), () => putAndThrow(why, task, dentry));
}

function atomicDone(found: Dentry | undefined, task: Task, dentry: Dentry, file: File): Awaitable<Looked> {
  const created = (file.f_mode & FMODE_CREATED) !== 0;
  if ((file.f_mode & FMODE_OPENED) !== 0) return { dentry, created, file };
  return andThen(dput(task, dentry), () => {
    if (found === undefined || found === dentry) return { dentry, created };
    return andThen(dput(task, dentry), () => ({ dentry: found, created }));
  });
}

function callAtomic(
  task: Task,
  { parent, flags, mode }: LastName,
  dentry: Dentry,
  file: File,
  refused: Errno | undefined,
): Awaitable<Dentry | undefined> {
  const dir = dirOf(parent);
  const asked = refused === undefined ? flags : flags & ~O_CREAT;
  if ((asked & O_CREAT) !== 0) assert_sb_write_started(task, dir.i_sb);
  const bits = vfs_prepare_mode(task, dir, mode, S_IALLUGO, S_IFREG);
  return withCleanup(openByFilesystem, lookedUp, dentry, task, dir, file, asked, bits);
}

function openByFilesystem(
  dentry: Dentry,
  task: Task,
  dir: Inode,
  file: File,
  flags: number,
  bits: number,
): Awaitable<Dentry | undefined> {
  const { atomic_open } = dir.i_op;
  if (atomic_open === undefined) return undefined;
  const { i_rwsem } = dir;
  const participants = (flags & O_CREAT) !== 0 ? { 'dir/create': i_rwsem } : { 'dir/open': i_rwsem };
  return invoke(task, rows.atomic_open, participants, atomic_open, dir, dentry, file, flags, bits);
}

function lookedUp(dentry: Dentry): void {
  d_lookup_done(dentry);
}
