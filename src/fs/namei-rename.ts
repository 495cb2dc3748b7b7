/** rename (fs/namei.c): the lock order of the kernel's directory-locking document, the checks, and the call. */
import { inode_operations as rows } from '../contract/inode.js';
import { call, take } from '../locking/context.js';
import type { Held } from '../locking/held.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { dput, shrink_dcache_parent } from './dcache.js';
import { d_exchange, d_move } from './dcache-alias.js';
import type { Dentry } from './dentry.js';
import { ihold, iput } from './icache.js';
import {
  I_MUTEX_CHILD,
  I_MUTEX_NONDIR2,
  I_MUTEX_NORMAL,
  I_MUTEX_PARENT,
  I_MUTEX_PARENT2,
  type Inode,
  S_DEAD,
  S_SWAPFILE,
} from './inode.js';
import { dirOf, LOOKUP_RENAME_TARGET, lookup_locked } from './lookup.js';
import { inode_permission, isDir, MAY_WRITE, may_create, may_delete } from './permission.js';
import { mnt_want_write, sb_end_write } from './super-freeze.js';

export const RENAME_NOREPLACE = 1;
export const RENAME_EXCHANGE = 2;
export const RENAME_WHITEOUT = 4;

/** The topmost directory on the way from `below` up to `above`, which is not in it: `below` itself where they are parent and child (the "trap"). */
function childTowards(below: Dentry, above: Dentry): Dentry | undefined {
  for (let at = below; ; at = at.d_parent) {
    if (at.d_parent === above && at !== above) return at;
    if (at.isRoot) return undefined;
  }
}

/**
 * The two parents, locked: the ancestor first; two that are not related in whichever order, because between directories only one such rename runs at a
 * time, under s_vfs_rename_sem (lock_rename).
 * @param held gets the guards
 * @returns the ancestor of one parent that is a child of the other: it cannot be moved below itself, nor replaced
 * @throws EXDEV where the parents have no common ancestor
 */
async function lock_rename(task: Task, a: Dentry, b: Dentry, held: Held[]): Promise<Dentry | undefined> {
  const [dirA, dirB] = [dirOf(a), dirOf(b)];
  if (a === b) {
    held.push(await take(task, rows.rename, 'old_dir', dirA.i_rwsem, I_MUTEX_PARENT));
    return undefined;
  }
  held.push(await dirA.i_sb.s_vfs_rename_sem.lock(task));
  const aBelowB = childTowards(a, b);
  if (aBelowB !== undefined) {
    held.push(await take(task, rows.rename, 'new_dir', dirB.i_rwsem, I_MUTEX_PARENT));
    held.push(await take(task, rows.rename, 'old_dir', dirA.i_rwsem, I_MUTEX_PARENT2));
    return aBelowB;
  }
  const bBelowA = childTowards(b, a);
  if (bBelowA === undefined && !haveCommonRoot(a, b)) throw errno('EXDEV');
  held.push(await take(task, rows.rename, 'old_dir', dirA.i_rwsem, I_MUTEX_PARENT));
  held.push(await take(task, rows.rename, 'new_dir', dirB.i_rwsem, I_MUTEX_PARENT2));
  return bBelowA;
}

function rootOf(dentry: Dentry): Dentry {
  let at = dentry;
  while (!at.isRoot) at = at.d_parent;
  return at;
}

function haveCommonRoot(a: Dentry, b: Dentry): boolean {
  return rootOf(a) === rootOf(b);
}

/** What takes part in one rename. */
interface Rename {
  readonly oldDir: Inode;
  readonly newDir: Inode;
  readonly old: Dentry;
  readonly target: Dentry;
  readonly flags: number;
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
export async function do_rename(
  task: Task,
  oldParent: Dentry,
  oldName: string,
  newParent: Dentry,
  newName: string,
  flags: number,
): Promise<void> {
  checkFlags(flags);
  if (oldParent.d_sb !== newParent.d_sb) throw errno('EXDEV');
  const writing = await mnt_want_write(task, oldParent.d_sb);
  const held: Held[] = [];
  const dentries: Dentry[] = [];
  let replaced: Inode | undefined;
  try {
    const trap = await lock_rename(task, oldParent, newParent, held);
    const old = await lookup_locked(task, oldParent, oldName);
    dentries.push(old);
    const target = await lookup_locked(task, newParent, newName, LOOKUP_RENAME_TARGET);
    dentries.push(target);
    if (old.isNegative) throw errno('ENOENT');
    if ((flags & RENAME_NOREPLACE) !== 0 && !target.isNegative) throw errno('EEXIST');
    const exchange = (flags & RENAME_EXCHANGE) !== 0;
    if (exchange && target.isNegative) throw errno('ENOENT');
    if (old === trap) throw errno('EINVAL');
    if (target === trap) throw errno(exchange ? 'EINVAL' : 'ENOTEMPTY');
    replaced = exchange ? undefined : target.d_inode;
    if (replaced !== undefined) ihold(replaced);
    await vfs_rename(task, { oldDir: dirOf(oldParent), newDir: dirOf(newParent), old, target, flags });
  } finally {
    for (const guard of held.reverse()) guard.release();
    for (const dentry of dentries) await dput(task, dentry);
    // What was replaced is freed when nobody waits for the directories any more.
    if (replaced !== undefined) await iput(task, replaced);
    sb_end_write(writing);
  }
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
async function checkPermissions(task: Task, r: Rename, source: Inode, victim: Inode | undefined): Promise<void> {
  const { oldDir, newDir, old, target, flags } = r;
  const exchange = (flags & RENAME_EXCHANGE) !== 0;
  await may_delete(task, oldDir, old, isDir(source));
  if (victim === undefined) await may_create(task, newDir, target);
  else await may_delete(task, newDir, target, exchange ? isDir(victim) : isDir(source));
  if (oldDir === newDir) return;
  // '..' of a directory that moves is changed.
  if (isDir(source)) await inode_permission(task, source, MAY_WRITE);
  if (exchange && victim !== undefined && isDir(victim)) await inode_permission(task, victim, MAY_WRITE);
}

/** With the parents locked. Locks those who take part: subdirectories before files, the source before the victim (vfs_rename). */
async function vfs_rename(task: Task, r: Rename): Promise<void> {
  const { oldDir, newDir, old, target, flags } = r;
  const source = old.d_inode;
  const victim = target.d_inode;
  if (source === undefined) throw errno('ENOENT');
  if (source === victim) return;
  await checkPermissions(task, r, source, victim);
  const { rename } = oldDir.i_op;
  if (rename === undefined) throw errno('EPERM');
  const exchange = (flags & RENAME_EXCHANGE) !== 0;
  const children: Held[] = [];
  try {
    const locked = await lockChildren(task, r, source, victim, children);
    if (((source.i_flags | (victim?.i_flags ?? 0)) & S_SWAPFILE) !== 0) throw errno('EPERM');
    checkLinks(r, source, victim);
    const moved = oldDir !== newDir;
    const participants = {
      old_dir: oldDir.i_rwsem,
      new_dir: newDir.i_rwsem,
      victim: locked.victim ? victim?.i_rwsem : undefined,
      sb: moved ? oldDir.i_sb.s_vfs_rename_sem : undefined,
      'source/non-directory': isDir(source) ? undefined : source.i_rwsem,
      'source/moved-directory': isDir(source) && moved ? source.i_rwsem : undefined,
    };
    await call(task, rows.rename, participants, () => rename(task, oldDir, old, newDir, target, flags));
    if (!exchange && victim !== undefined && isDir(victim)) {
      await shrink_dcache_parent(task, target);
      victim.i_flags |= S_DEAD;
    }
    if (exchange) d_exchange(task, old, target);
    else await d_move(task, old, target);
  } finally {
    for (const guard of children.reverse()) guard.release();
  }
}

/**
 * Lock what the names stand for: every file, and the directories whose '..' changes or that go. Of two files the one with the lower address first, here
 * the inode number; a directory before a file; of two directories the source.
 */
async function lockChildren(
  task: Task,
  r: Rename,
  source: Inode,
  victim: Inode | undefined,
  held: Held[],
): Promise<{ readonly victim: boolean }> {
  const moved = r.oldDir !== r.newDir;
  const lock = async (of: 'source' | 'victim', inode: Inode, subclass: number): Promise<void> => {
    held.push(await take(task, rows.rename, of, inode.i_rwsem, subclass));
  };
  // A directory that is exchanged within its parent keeps its '..'.
  const locksVictimDir = moved || (r.flags & RENAME_EXCHANGE) === 0;
  if (isDir(source)) {
    if (moved) await lock('source', source, I_MUTEX_CHILD);
    if (victim === undefined || (isDir(victim) && !locksVictimDir)) return { victim: false };
    await lock('victim', victim, I_MUTEX_NORMAL);
    return { victim: true };
  }
  if (victim === undefined) {
    await lock('source', source, I_MUTEX_NORMAL);
    return { victim: false };
  }
  if (isDir(victim)) {
    if (locksVictimDir) await lock('victim', victim, I_MUTEX_CHILD);
    await lock('source', source, I_MUTEX_NORMAL);
    return { victim: locksVictimDir };
  }
  const sourceFirst = source.i_ino < victim.i_ino;
  await lock(sourceFirst ? 'source' : 'victim', sourceFirst ? source : victim, I_MUTEX_NORMAL);
  await lock(sourceFirst ? 'victim' : 'source', sourceFirst ? victim : source, I_MUTEX_NONDIR2);
  return { victim: true };
}
