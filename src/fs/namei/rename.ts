/** rename (fs/namei.c): the checks, the call, and the names in memory after it. The order of the locks is in lock-rename.ts. */
import { inode_operations as rows } from '../../contract/inode.js';
import { invoke } from '../../locking/context.js';
import type { Held } from '../../locking/held.js';
import { type Awaitable, andThen, withCleanup } from '../../sched/awaitable.js';
import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT } from '../../uapi/fs.js';
import { dput } from '../dcache.js';
import { d_exchange, d_move } from '../dcache-alias.js';
import { shrink_dcache_parent } from '../dcache-shrink.js';
import type { Dentry } from '../dentry.js';
import { ihold, iput } from '../icache.js';
import { type Inode, inode_set_dead, isDir, S_SWAPFILE } from '../inode.js';
import { try_break_deleg, waiting_for_delegations } from '../locks/break-lease.js';
import { mnt_want_write, sb_end_write, type Writing } from '../super-freeze.js';
import { type Child, childrenToLock, lock_rename, lockAll, locks } from './lock-rename.js';
import { dirOf, LOOKUP_RENAME_TARGET, lookup_locked } from './lookup.js';
import { inode_permission, MAY_WRITE, may_create, may_delete } from './permission.js';

/** What takes part in one rename, as it is found. */
class Rename {
  readonly oldParent: Dentry;
  readonly oldName: string;
  readonly newParent: Dentry;
  readonly newName: string;
  readonly flags: number;
  readonly oldDir: Inode;
  readonly newDir: Inode;
  /** The parents, as they are locked. */
  readonly parents: Held[] = [];
  /** Those that are renamed and replaced, as they are locked. */
  readonly children: Held[] = [];
  old: Dentry | undefined;
  target: Dentry | undefined;
  /** What had the new name before: it is freed when nobody waits for the directories any more. */
  replaced: Inode | undefined;

  constructor(oldParent: Dentry, oldName: string, newParent: Dentry, newName: string, flags: number) {
    this.oldParent = oldParent;
    this.oldName = oldName;
    this.newParent = newParent;
    this.newName = newName;
    this.flags = flags;
    this.oldDir = dirOf(oldParent);
    this.newDir = dirOf(newParent);
  }
}

/** @throws EINVAL for flags that do not exist, or that exclude each other */
function checkFlags(flags: number): void {
  if ((flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) !== 0) throw errno('EINVAL');
  const excluded = (flags & (RENAME_NOREPLACE | RENAME_WHITEOUT)) !== 0;
  if ((flags & RENAME_EXCHANGE) !== 0 && excluded) throw errno('EINVAL');
}

/**
 * rename(2), with RENAME_NOREPLACE, RENAME_EXCHANGE or RENAME_WHITEOUT (do_renameat2).
 * @throws EINVAL into its own subdirectory, or for flags that exclude each other; EEXIST ENOENT ENOTDIR EISDIR ENOTEMPTY EBUSY EXDEV EACCES EPERM EMLINK
 * EROFS
 */
export function do_rename(
  task: Task,
  oldParent: Dentry,
  oldName: string,
  newParent: Dentry,
  newName: string,
  flags: number,
): Awaitable<void> {
  checkFlags(flags);
  if (oldParent.d_sb !== newParent.d_sb) throw errno('EXDEV');
  return waiting_for_delegations(renameOnce, task, oldParent, oldName, newParent, newName, flags);
}

function renameOnce(
  task: Task,
  oldParent: Dentry,
  oldName: string,
  newParent: Dentry,
  newName: string,
  flags: number,
): Awaitable<void> {
  const r = new Rename(oldParent, oldName, newParent, newName, flags);
  return andThen(mnt_want_write(task, oldParent.d_sb), renameAsWriter, task, r);
}

function renameAsWriter(writing: Writing, task: Task, r: Rename): Awaitable<void> {
  return withCleanup(renameAndLetGo, sb_end_write, writing, task, r);
}

function renameAndLetGo(_writing: Writing, task: Task, r: Rename): Awaitable<void> {
  return withCleanup(renameBetween, letGo, task, r);
}

function renameBetween(task: Task, r: Rename): Awaitable<void> {
  return withCleanup(lockAndRename, unlockParents, task, r);
}

function lockAndRename(task: Task, r: Rename): Awaitable<void> {
  return andThen(lock_rename(task, r.oldParent, r.newParent, r.parents), lookUpOld, task, r);
}

function unlockParents(_task: Task, { parents }: Rename): void {
  for (let guard = parents.pop(); guard !== undefined; guard = parents.pop()) guard.release();
}

function lookUpOld(trap: Dentry | undefined, task: Task, r: Rename): Awaitable<void> {
  return andThen(lookup_locked(task, r.oldParent, r.oldName, 0), lookUpTarget, task, r, trap);
}

function lookUpTarget(old: Dentry, task: Task, r: Rename, trap: Dentry | undefined): Awaitable<void> {
  r.old = old;
  const found = lookup_locked(task, r.newParent, r.newName, LOOKUP_RENAME_TARGET);
  return andThen(found, renameFound, task, r, trap, old);
}

function renameFound(target: Dentry, task: Task, r: Rename, trap: Dentry | undefined, old: Dentry): Awaitable<void> {
  r.target = target;
  checkNames(old, target, trap, r.flags);
  r.replaced = (r.flags & RENAME_EXCHANGE) !== 0 ? undefined : target.d_inode;
  if (r.replaced !== undefined) ihold(r.replaced);
  return vfs_rename(task, r, old, target);
}

function letGo(task: Task, r: Rename): Awaitable<void> {
  const put = andThen(r.old === undefined ? undefined : dput(task, r.old), putTarget, task, r);
  return andThen(put, putReplaced, task, r);
}

function putTarget(_put: void, task: Task, { target }: Rename): Awaitable<void> {
  return target === undefined ? undefined : dput(task, target);
}

function putReplaced(_put: void, task: Task, { replaced }: Rename): Awaitable<void> {
  return replaced === undefined ? undefined : iput(task, replaced);
}

/** @param trap as of lock_rename @throws ENOENT EEXIST; EINVAL and ENOTEMPTY where one parent is below what is to move or to be replaced */
function checkNames(old: Dentry, target: Dentry, trap: Dentry | undefined, flags: number): void {
  const exchange = (flags & RENAME_EXCHANGE) !== 0;
  if (old.isNegative) throw errno('ENOENT');
  if ((flags & RENAME_NOREPLACE) !== 0 && !target.isNegative) throw errno('EEXIST');
  if (exchange && target.isNegative) throw errno('ENOENT');
  if (old === trap) throw errno('EINVAL');
  if (target === trap) throw errno(exchange ? 'EINVAL' : 'ENOTEMPTY');
}

/** @throws EMLINK where '..' of what is moved would give its new parent a link too many */
function checkLinks(r: Rename, source: Inode, victim: Inode | undefined): void {
  const { s_max_links: max } = r.oldDir.i_sb;
  if (max === 0 || r.oldDir === r.newDir) return;
  const replacesDir = victim !== undefined && isDir(victim);
  if (isDir(source) && !replacesDir && r.newDir.i_nlink >= max) throw errno('EMLINK');
  const exchange = (r.flags & RENAME_EXCHANGE) !== 0;
  if (exchange && !isDir(source) && replacesDir && r.oldDir.i_nlink >= max) throw errno('EMLINK');
}

/** Who may do this. With the parents locked. @throws EACCES EPERM EISDIR ENOTDIR EBUSY EEXIST */
function checkPermissions(task: Task, r: Rename, old: Dentry, target: Dentry): Awaitable<void> {
  const { d_inode: source } = old;
  if (source === undefined) throw errno('ENOENT');
  const mayMove = may_delete(task, r.oldDir, old, isDir(source));
  return andThen(andThen(mayMove, mayTakeName, task, r, source, target), mayReparent, task, r, source, target.d_inode);
}

function mayTakeName(
  _may: void,
  task: Task,
  { newDir, flags }: Rename,
  source: Inode,
  target: Dentry,
): Awaitable<void> {
  const { d_inode: victim } = target;
  if (victim === undefined) return may_create(task, newDir, target);
  return may_delete(task, newDir, target, (flags & RENAME_EXCHANGE) !== 0 ? isDir(victim) : isDir(source));
}

/** '..' of a directory that moves is changed. */
function mayReparent(_may: void, task: Task, r: Rename, source: Inode, victim: Inode | undefined): Awaitable<void> {
  if (r.oldDir === r.newDir) return undefined;
  const may = isDir(source) ? inode_permission(task, source, MAY_WRITE) : undefined;
  if ((r.flags & RENAME_EXCHANGE) === 0 || victim === undefined || !isDir(victim)) return may;
  return andThen(may, mayWrite, task, victim);
}

function mayWrite(_may: void, task: Task, inode: Inode): Awaitable<void> {
  return inode_permission(task, inode, MAY_WRITE);
}

/** With the parents locked. Locks those who take part: subdirectories before files, the source before the victim (vfs_rename). */
function vfs_rename(task: Task, r: Rename, old: Dentry, target: Dentry): Awaitable<void> {
  if (old.d_inode === undefined) throw errno('ENOENT');
  if (old.d_inode === target.d_inode) return undefined;
  return andThen(checkPermissions(task, r, old, target), renamePermitted, task, r, old, target);
}

function renamePermitted(_may: void, task: Task, r: Rename, old: Dentry, target: Dentry): Awaitable<void> {
  if (r.oldDir.i_op.rename === undefined) throw errno('EPERM');
  return withCleanup(lockAndMove, unlockChildren, task, r, old, target);
}

function unlockChildren(_task: Task, { children }: Rename): void {
  for (let guard = children.pop(); guard !== undefined; guard = children.pop()) guard.release();
}

function lockAndMove(task: Task, r: Rename, old: Dentry, target: Dentry): Awaitable<void> {
  const source = old.d_inode;
  if (source === undefined) throw errno('ENOENT');
  const children = childrenToLock(source, target.d_inode, r.oldDir !== r.newDir, (r.flags & RENAME_EXCHANGE) !== 0);
  return andThen(lockAll(task, children, r.children), renameLocked, task, r, old, target, children);
}

/** With all who take part locked: the call, and the names in memory after it. */
function renameLocked(
  _locked: void,
  task: Task,
  r: Rename,
  old: Dentry,
  target: Dentry,
  children: readonly Child[],
): Awaitable<void> {
  const { oldDir, newDir, flags } = r;
  const { rename } = oldDir.i_op;
  const { d_inode: source } = old;
  const { d_inode: victim } = target;
  if (source === undefined || rename === undefined) throw errno('EPERM');
  if (((source.i_flags | (victim?.i_flags ?? 0)) & S_SWAPFILE) !== 0) throw errno('EPERM');
  checkLinks(r, source, victim);
  if (!isDir(source)) try_break_deleg(task, source);
  if (victim !== undefined && !isDir(victim)) try_break_deleg(task, victim);
  const moved = oldDir !== newDir;
  const participants = {
    old_dir: oldDir.i_rwsem,
    new_dir: newDir.i_rwsem,
    victim: locks(children, 'victim') ? victim?.i_rwsem : undefined,
    sb: moved ? oldDir.i_sb.s_vfs_rename_sem : undefined,
    'source/non-directory': isDir(source) ? undefined : source.i_rwsem,
    'source/moved-directory': isDir(source) && moved ? source.i_rwsem : undefined,
  };
  const renamed = invoke(task, rows.rename, participants, rename, oldDir, old, newDir, target, flags);
  if ((flags & RENAME_EXCHANGE) !== 0) return andThen(renamed, exchanged, task, old, target);
  return andThen(renamed, moveDentry, task, old, target, victim !== undefined && isDir(victim) ? victim : undefined);
}

function exchanged(_renamed: void, task: Task, old: Dentry, target: Dentry): void {
  d_exchange(task, old, target);
}

/** @param replaced a directory that had the new name before */
function moveDentry(
  _renamed: void,
  task: Task,
  old: Dentry,
  target: Dentry,
  replaced: Inode | undefined,
): Awaitable<void> {
  if (replaced === undefined) return d_move(task, old, target);
  return andThen(shrink_dcache_parent(task, target), () => {
    inode_set_dead(task, replaced);
    return d_move(task, old, target);
  });
}
