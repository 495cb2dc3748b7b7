/** Removing names (fs/namei.c): unlink and rmdir. */
import { inode_operations as rows } from '../../contract/inode.js';
import { invoke, take } from '../../locking/context.js';
import { type Held, release_held } from '../../locking/held.js';
import { type Awaitable, andThen, withCleanup } from '../../sched/awaitable.js';
import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { d_delete, dput } from '../dcache.js';
import { shrink_dcache_parent } from '../dcache-shrink.js';
import type { Dentry } from '../dentry.js';
import { ihold, iput } from '../icache.js';
import { I_MUTEX_NORMAL, I_MUTEX_PARENT, type Inode, inode_set_dead, S_SWAPFILE } from '../inode.js';
import { try_break_deleg, waiting_for_delegations } from '../locks/break-lease.js';
import { mnt_want_write, sb_end_write, type Writing } from '../super-freeze.js';
import { dirOf, lookup_locked } from './lookup.js';
import { may_delete } from './permission.js';

/** Remove a name that is not a directory's (do_unlinkat). What had it is freed when the directory is unlocked. @throws ENOENT EISDIR EACCES EPERM EROFS */
export function do_unlink(task: Task, parent: Dentry, name: string): Awaitable<void> {
  return waiting_for_delegations(unlinkOnce, task, parent, name);
}

function unlinkOnce(task: Task, parent: Dentry, name: string): Awaitable<void> {
  return removing(task, new Removing(rows.unlink, parent, name, vfs_unlink));
}

/** Remove an empty directory (do_rmdir). @throws ENOENT ENOTDIR ENOTEMPTY EBUSY EACCES EPERM EROFS */
export function do_rmdir(task: Task, parent: Dentry, name: string): Awaitable<void> {
  return removing(task, new Removing(rows.rmdir, parent, name, vfs_rmdir));
}

/** A name that is being removed, and what was found under it. */
class Removing {
  readonly row: typeof rows.unlink | typeof rows.rmdir;
  readonly dir: Inode;
  readonly parent: Dentry;
  readonly name: string;
  readonly remove: typeof vfs_unlink;
  dentry: Dentry | undefined;
  victim: Inode | undefined;

  constructor(row: Removing['row'], parent: Dentry, name: string, remove: typeof vfs_unlink) {
    this.row = row;
    this.dir = dirOf(parent);
    this.parent = parent;
    this.name = name;
    this.remove = remove;
  }
}

function removing(task: Task, r: Removing): Awaitable<void> {
  return andThen(mnt_want_write(task, r.dir.i_sb), removeAsWriter, task, r);
}

function removeAsWriter(writing: Writing, task: Task, r: Removing): Awaitable<void> {
  return withCleanup(removeName, sb_end_write, writing, task, r);
}

/** The last reference may free a large file, which nobody who wants the directory has to wait for. */
function removeName(_writing: Writing, task: Task, r: Removing): Awaitable<void> {
  return withCleanup(lockAndRemove, letGo, task, r);
}

function lockAndRemove(task: Task, r: Removing): Awaitable<void> {
  return andThen(take(task, r.row, 'dir', r.dir.i_rwsem, I_MUTEX_PARENT), removeLocked, task, r);
}

function removeLocked(held: Held, task: Task, r: Removing): Awaitable<void> {
  return withCleanup(lookUpAndRemove, release_held, held, task, r);
}

function lookUpAndRemove(_held: Held, task: Task, r: Removing): Awaitable<void> {
  return andThen(lookup_locked(task, r.parent, r.name), removeFound, task, r);
}

function removeFound(dentry: Dentry, task: Task, r: Removing): Awaitable<void> {
  r.dentry = dentry;
  r.victim = dentry.d_inode;
  if (r.victim !== undefined) ihold(r.victim);
  const { remove } = r;
  return remove(task, r.dir, dentry);
}

function letGo(task: Task, { dentry, victim }: Removing): Awaitable<void> {
  return andThen(dentry === undefined ? undefined : dput(task, dentry), putVictim, task, victim);
}

function putVictim(_put: void, task: Task, victim: Inode | undefined): Awaitable<void> {
  return victim === undefined ? undefined : iput(task, victim);
}

/** With i_rwsem of `dir` held exclusively; takes the victim's (vfs_unlink). */
export function vfs_unlink(task: Task, dir: Inode, dentry: Dentry): Awaitable<void> {
  const unlinked = andThen(may_delete(task, dir, dentry, false), lockAndUnlink, task, dir, dentry);
  return andThen(unlinked, deleteDentry, task, dentry);
}

function deleteDentry(_removed: void, task: Task, dentry: Dentry): Awaitable<void> {
  return d_delete(task, dentry);
}

function lockAndUnlink(_may: void, task: Task, dir: Inode, dentry: Dentry): Awaitable<void> {
  const victim = dentry.d_inode;
  if (dir.i_op.unlink === undefined || victim === undefined) throw errno('EPERM');
  const locked = take(task, rows.unlink, 'victim', victim.i_rwsem, I_MUTEX_NORMAL);
  return andThen(locked, unlinkLocked, task, dir, dentry, victim);
}

function unlinkLocked(held: Held, task: Task, dir: Inode, dentry: Dentry, victim: Inode): Awaitable<void> {
  return withCleanup(unlinkInode, release_held, held, task, dir, dentry, victim);
}

function unlinkInode(_held: Held, task: Task, dir: Inode, dentry: Dentry, victim: Inode): Awaitable<void> {
  const { unlink } = dir.i_op;
  if (unlink === undefined || (victim.i_flags & S_SWAPFILE) !== 0) throw errno('EPERM');
  try_break_deleg(task, victim);
  return invoke(task, rows.unlink, { dir: dir.i_rwsem, victim: victim.i_rwsem }, unlink, dir, dentry);
}

/** With i_rwsem of `dir` held exclusively; takes the victim's (vfs_rmdir). */
export function vfs_rmdir(task: Task, dir: Inode, dentry: Dentry): Awaitable<void> {
  const removed = andThen(may_delete(task, dir, dentry, true), lockAndRmdir, task, dir, dentry);
  return andThen(removed, deleteDentry, task, dentry);
}

function lockAndRmdir(_may: void, task: Task, dir: Inode, dentry: Dentry): Awaitable<void> {
  const victim = dentry.d_inode;
  if (dir.i_op.rmdir === undefined || victim === undefined) throw errno('EPERM');
  const locked = take(task, rows.rmdir, 'victim', victim.i_rwsem, I_MUTEX_NORMAL);
  return andThen(locked, rmdirLocked, task, dir, dentry, victim);
}

function rmdirLocked(held: Held, task: Task, dir: Inode, dentry: Dentry, victim: Inode): Awaitable<void> {
  return withCleanup(rmdirInode, release_held, held, task, dir, dentry, victim);
}

function rmdirInode(_held: Held, task: Task, dir: Inode, dentry: Dentry, victim: Inode): Awaitable<void> {
  const { rmdir } = dir.i_op;
  if (rmdir === undefined) throw errno('EPERM');
  const removed = invoke(task, rows.rmdir, { dir: dir.i_rwsem, victim: victim.i_rwsem }, rmdir, dir, dentry);
  return andThen(andThen(removed, shrinkRemoved, task, dentry), markDead, task, victim);
}

function shrinkRemoved(_removed: void, task: Task, dentry: Dentry): Awaitable<void> {
  return shrink_dcache_parent(task, dentry);
}

function markDead(_shrunk: void, task: Task, victim: Inode): void {
  inode_set_dead(task, victim);
}
