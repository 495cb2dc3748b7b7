/** Which locks rename holds, and in which order: the kernel's document on directory locking, in code (fs/namei.c, lock_rename and vfs_rename). */
import { inode_operations as rows } from '../../contract/inode.js';
import { take } from '../../locking/context.js';
import type { Held } from '../../locking/held.js';
import { type Awaitable, andThen } from '../../sched/awaitable.js';
import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import type { Dentry } from '../dentry.js';
import {
  I_MUTEX_CHILD,
  I_MUTEX_NONDIR2,
  I_MUTEX_NORMAL,
  I_MUTEX_PARENT,
  I_MUTEX_PARENT2,
  type Inode,
  isDir,
} from '../inode.js';
import { dirOf } from './lookup.js';

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
export function lock_rename(task: Task, a: Dentry, b: Dentry, held: Held[]): Awaitable<Dentry | undefined> {
  if (a !== b) return lockTwo(task, a, b, held);
  return andThen(take(task, rows.rename, 'old_dir', dirOf(a).i_rwsem, I_MUTEX_PARENT), oneLocked, held);
}

function oneLocked(guard: Held, held: Held[]): undefined {
  held.push(guard);
}

async function lockTwo(task: Task, a: Dentry, b: Dentry, held: Held[]): Promise<Dentry | undefined> {
  const [dirA, dirB] = [dirOf(a), dirOf(b)];
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

/** Whether the source, or the victim, is among them. */
export function locks(children: readonly Child[], what: Child['of']): boolean {
  for (const { of } of children) if (of === what) return true;
  return false;
}

/** One who takes part in a rename without being a parent, and the level on which it is locked. */
export interface Child {
  readonly of: 'source' | 'victim';
  readonly inode: Inode;
  readonly subclass: number;
}

/**
 * What the names stand for, as it is locked: every file, and the directories whose '..' changes or that go. Of two files the one with the lower address
 * first, here the inode number; a directory before a file; of two directories the source.
 * @param moved from one directory to another
 * @param exchanges both names stay (RENAME_EXCHANGE)
 */
export function childrenToLock(
  source: Inode,
  victim: Inode | undefined,
  moved: boolean,
  exchanges: boolean,
): readonly Child[] {
  const children: Child[] = [];
  // A directory that is exchanged within its parent keeps its '..'.
  const locksVictimDir = moved || !exchanges;
  if (isDir(source)) {
    if (moved) children.push({ of: 'source', inode: source, subclass: I_MUTEX_CHILD });
    if (victim !== undefined && (!isDir(victim) || locksVictimDir))
      children.push({ of: 'victim', inode: victim, subclass: I_MUTEX_NORMAL });
  } else if (victim === undefined) {
    children.push({ of: 'source', inode: source, subclass: I_MUTEX_NORMAL });
  } else if (isDir(victim)) {
    if (locksVictimDir) children.push({ of: 'victim', inode: victim, subclass: I_MUTEX_CHILD });
    children.push({ of: 'source', inode: source, subclass: I_MUTEX_NORMAL });
  } else {
    const sourceFirst = source.i_ino < victim.i_ino;
    if (sourceFirst) children.push({ of: 'source', inode: source, subclass: I_MUTEX_NORMAL });
    children.push({ of: 'victim', inode: victim, subclass: sourceFirst ? I_MUTEX_NONDIR2 : I_MUTEX_NORMAL });
    if (!sourceFirst) children.push({ of: 'source', inode: source, subclass: I_MUTEX_NONDIR2 });
  }
  return children;
}

/** Lock them in this order (i_rwsem, exclusively), as the row says. @param held gets the guards, also of those that were had when a later one fails */
export function lockAll(task: Task, children: readonly Child[], held: Held[]): Awaitable<void> {
  for (let child = children[held.length]; child !== undefined; child = children[held.length]) {
    const guard = take(task, rows.rename, child.of, child.inode.i_rwsem, child.subclass);
    if (guard instanceof Promise) {
      return guard.then((late) => {
        held.push(late);
        return lockAll(task, children, held);
      });
    }
    held.push(guard);
  }
  return undefined;
}
