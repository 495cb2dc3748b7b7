/** Looking one name up in a directory (fs/namei.c): in the cache, and by asking the filesystem. */

import { dentry_operations as dentry_rows } from '../../contract/dentry.js';
import { inode_operations as rows } from '../../contract/inode.js';
import { invoke, take } from '../../locking/context.js';
import { type Held, release_held } from '../../locking/held.js';
import { type Awaitable, andThen, orElse, withCleanup } from '../../sched/awaitable.js';
import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { NAME_MAX } from '../../uapi/limits.js';
import { d_alloc, d_lookup, dentryLocks, dentryLocksAndRcu, dput, putAndThrow } from '../dcache.js';
import { d_invalidate } from '../dcache-alias.js';
import { type AllocatedParallel, d_alloc_parallel, d_lookup_done } from '../dcache-parallel.js';
import type { Dentry } from '../dentry.js';
import { I_MUTEX_NORMAL, type Inode, isDir, S_DEAD } from '../inode.js';
import { inode_permission, MAY_EXEC } from './permission.js';

/** What the last name of a path is looked up for (LOOKUP_*), for ->lookup and ->d_revalidate. */
export const LOOKUP_OPEN = 0x100;
export const LOOKUP_CREATE = 0x200;
export const LOOKUP_EXCL = 0x400;
export const LOOKUP_RENAME_TARGET = 0x800;
/** The walk is in an RCU read section: ->d_revalidate answers at once, or throws ECHILD. */
export const LOOKUP_RCU = 0x40;

/** The inode of a directory. @throws ENOENT ENOTDIR */
export function dirOf(dentry: Dentry): Inode {
  const inode = dentry.d_inode;
  if (inode === undefined) throw errno('ENOENT');
  if (!isDir(inode)) throw errno('ENOTDIR');
  return inode;
}

/** @throws ENAMETOOLONG; EACCES for what cannot be a name (lookup_one_common) */
function checkName(name: string): void {
  if (name.length > NAME_MAX) throw errno('ENAMETOOLONG');
  if (name === '' || name === '.' || name === '..' || name.includes('/')) throw errno('EACCES');
}

/**
 * A cached name, with a reference, if its filesystem says that it still holds (lookup_dcache). Takes no lock.
 * @param flags LOOKUP_*
 */
export function lookup_dcache(task: Task, parent: Dentry, name: string, flags: number): Awaitable<Dentry | undefined> {
  const dentry = d_lookup(task, parent, name);
  if (dentry === undefined || dentry.d_op.d_revalidate === undefined) return dentry;
  return andThen(d_revalidate(task, dentry, flags), ifValid, task, dentry);
}

function ifValid(valid: boolean, task: Task, dentry: Dentry): Awaitable<Dentry | undefined> {
  if (valid) return dentry;
  return andThen(d_invalidate(task, dentry), () => andThen(dput(task, dentry), () => undefined));
}

/** Whether what is cached about a name still holds (d_revalidate). */
export function d_revalidate(task: Task, dentry: Dentry, flags: number): Awaitable<boolean> {
  const { d_revalidate: op } = dentry.d_op;
  if (op === undefined) return true;
  const participants = (flags & LOOKUP_RCU) !== 0 ? dentryLocksAndRcu(dentry) : dentryLocks(dentry);
  return invoke(task, dentry_rows.d_revalidate, participants, op, dentry, flags);
}

/**
 * Look a name up, with a reference to its dentry, which is negative where there is none (lookup_one_unlocked). Cached names take no lock; others
 * i_rwsem shared, and of several that look for the same name at once one asks the filesystem.
 * @throws ENOTDIR EACCES ENAMETOOLONG ENOENT
 */
export function lookup_one(task: Task, parent: Dentry, name: string): Awaitable<Dentry> {
  const dir = dirOf(parent);
  const may = inode_permission(task, dir, MAY_EXEC, { inode: dir.i_rwsem });
  return andThen(may, lookup_checked, task, parent, name);
}

function lookup_checked(_may: void, task: Task, parent: Dentry, name: string): Awaitable<Dentry> {
  checkName(name);
  return lookup_permitted(task, parent, name, 0);
}

/** As lookup_one, for a caller who may search the directory. @param flags LOOKUP_* */
export function lookup_permitted(task: Task, parent: Dentry, name: string, flags: number): Awaitable<Dentry> {
  return andThen(lookup_dcache(task, parent, name, flags), lookup_uncached, task, parent, name, flags);
}

function lookup_uncached(
  cached: Dentry | undefined,
  task: Task,
  parent: Dentry,
  name: string,
  flags: number,
): Awaitable<Dentry> {
  return cached ?? lookup_slow(task, parent, name, flags);
}

/** Ask the filesystem, with i_rwsem shared (lookup_slow). */
function lookup_slow(task: Task, parent: Dentry, name: string, flags: number): Awaitable<Dentry> {
  const dir = dirOf(parent);
  if (name.length > NAME_MAX) throw errno('ENAMETOOLONG');
  return andThen(take(task, rows.lookup, 'dir', dir.i_rwsem, I_MUTEX_NORMAL), lookupShared, task, parent, name, flags);
}

function lookupShared(held: Held, task: Task, parent: Dentry, name: string, flags: number): Awaitable<Dentry> {
  return withCleanup(lookupHeld, release_held, held, task, parent, name, flags);
}

function lookupHeld(_held: Held, task: Task, parent: Dentry, name: string, flags: number): Awaitable<Dentry> {
  return lookup_parallel(task, parent, name, flags);
}

/** As lookup_slow, with i_rwsem held in either mode. @throws ENOENT where the directory is removed; what ->lookup throws */
export function lookup_parallel(task: Task, parent: Dentry, name: string, flags: number): Awaitable<Dentry> {
  const dir = dirOf(parent);
  if ((dir.i_flags & S_DEAD) !== 0) throw errno('ENOENT');
  return andThen(d_alloc_parallel(task, parent, name), lookupAllocated, task, dir, flags);
}

function lookupAllocated(
  { dentry, fresh }: AllocatedParallel,
  task: Task,
  dir: Inode,
  flags: number,
): Awaitable<Dentry> {
  return fresh ? lookup_real(task, dir, dentry, flags) : dentry;
}

/**
 * Look a name up with the directory's i_rwsem held exclusively (lookup_one_qstr_excl). @param flags LOOKUP_*
 * @throws ENAMETOOLONG ENOENT
 */
export function lookup_locked(task: Task, parent: Dentry, name: string, flags = 0): Awaitable<Dentry> {
  checkName(name);
  return andThen(lookup_dcache(task, parent, name, flags), allocAndLookUp, task, parent, name, flags);
}

function allocAndLookUp(
  cached: Dentry | undefined,
  task: Task,
  parent: Dentry,
  name: string,
  flags: number,
): Awaitable<Dentry> {
  if (cached !== undefined) return cached;
  const dir = dirOf(parent);
  if ((dir.i_flags & S_DEAD) !== 0) throw errno('ENOENT');
  return lookup_real(task, dir, d_alloc(task, parent, name), flags);
}

/** Ask the filesystem about a fresh dentry; takes over the reference to it. @returns what to use, with a reference */
export function lookup_real(task: Task, dir: Inode, dentry: Dentry, flags: number): Awaitable<Dentry> {
  return andThen(orElse(askFilesystem, lookupFailed, task, dir, dentry, flags), lookupDone, task, dentry);
}

function askFilesystem(task: Task, dir: Inode, dentry: Dentry, flags: number): Awaitable<Dentry | undefined> {
  const { lookup } = dir.i_op;
  if (lookup === undefined) throw errno('ENOTDIR');
  return invoke(task, rows.lookup, { dir: dir.i_rwsem }, lookup, dir, dentry, flags);
}

function lookupFailed(error: unknown, task: Task, _dir: Inode, dentry: Dentry): Awaitable<never> {
  d_lookup_done(dentry);
  return putAndThrow(error, task, dentry);
}

function lookupDone(other: Dentry | undefined, task: Task, dentry: Dentry): Awaitable<Dentry> {
  d_lookup_done(dentry);
  return other === undefined ? dentry : andThen(dput(task, dentry), () => other);
}
