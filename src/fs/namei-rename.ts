/** rename (fs/namei.c): the lock order of the kernel's directory-locking document, the checks, and the call. */
import { inode_operations as rows } from '../contract/inode.js';
import { invoke, take } from '../locking/context.js';
import type { Held } from '../locking/held.js';
import { type Awaitable, andThen, withCleanup } from '../sched/awaitable.js';
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
  inode_set_dead,
  isDir,
  S_SWAPFILE,
} from './inode.js';
import { dirOf, LOOKUP_RENAME_TARGET, lookup_locked } from './lookup.js';
import { inode_permission, MAY_WRITE, may_create, may_delete } from './permission.js';
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
function lock_rename(task: Task, a: Dentry, b: Dentry, held: Held[]): Awaitable<Dentry | undefined> {
  if (a !== b) return lockTwo(task, a, b, held);
  return andThen(take(task, rows.rename, 'old_dir', dirOf(a).i_rwsem, I_MUTEX_PARENT), (guard) => {
    held.push(guard);
    return undefined;
  });
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
  return andThen(mnt_want_write(task, oldParent.d_sb), (writing) => {
    const held: Held[] = [];
    const dentries: Dentry[] = [];
    let replaced: Inode | undefined;
    const lookUp = (parent: Dentry, name: string, intent: number): Awaitable<Dentry> =>
      andThen(lookup_locked(task, parent, name, intent), (dentry) => {
        dentries.push(dentry);
        return dentry;
      });
    const renameFound = (old: Dentry, target: Dentry, trap: Dentry | undefined): Awaitable<void> => {
      checkNames(old, target, trap, flags);
      replaced = (flags & RENAME_EXCHANGE) !== 0 ? undefined : target.d_inode;
      if (replaced !== undefined) ihold(replaced);
      return vfs_rename(task, { oldDir: dirOf(oldParent), newDir: dirOf(newParent), old, target, flags });
    };
    // What was replaced is freed when nobody waits for the directories any more.
    const letGo = (): Awaitable<void> =>
      andThen(putAll(task, dentries), () => (replaced === undefined ? undefined : iput(task, replaced)));
    return withCleanup(
      () =>
        andThen(lock_rename(task, oldParent, newParent, held), (trap) =>
          andThen(lookUp(oldParent, oldName, 0), (old) =>
            andThen(lookUp(newParent, newName, LOOKUP_RENAME_TARGET), (target) => renameFound(old, target, trap)),
          ),
        ),
      () => {
        for (const guard of held.reverse()) guard.release();
        return withCleanup(letGo, () => sb_end_write(writing));
      },
    );
  });
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

function putAll(task: Task, dentries: Dentry[]): Awaitable<void> {
  for (let dentry = dentries.shift(); dentry !== undefined; dentry = dentries.shift()) {
    const put = dput(task, dentry);
    if (put instanceof Promise) return put.then(() => putAll(task, dentries));
  }
  return undefined;
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
function checkPermissions(task: Task, r: Rename, source: Inode, victim: Inode | undefined): Awaitable<void> {
  const { oldDir, newDir, old, target, flags } = r;
  const exchange = (flags & RENAME_EXCHANGE) !== 0;
  const mayReplace = (): Awaitable<void> =>
    victim === undefined
      ? may_create(task, newDir, target)
      : may_delete(task, newDir, target, exchange ? isDir(victim) : isDir(source));
  return andThen(may_delete(task, oldDir, old, isDir(source)), () =>
    andThen(mayReplace(), () => {
      if (oldDir === newDir) return undefined;
      // '..' of a directory that moves is changed.
      return andThen(isDir(source) ? inode_permission(task, source, MAY_WRITE) : undefined, () =>
        exchange && victim !== undefined && isDir(victim) ? inode_permission(task, victim, MAY_WRITE) : undefined,
      );
    }),
  );
}

/** With the parents locked. Locks those who take part: subdirectories before files, the source before the victim (vfs_rename). */
function vfs_rename(task: Task, r: Rename): Awaitable<void> {
  const source = r.old.d_inode;
  const victim = r.target.d_inode;
  if (source === undefined) throw errno('ENOENT');
  if (source === victim) return undefined;
  return andThen(checkPermissions(task, r, source, victim), () => {
    if (r.oldDir.i_op.rename === undefined) throw errno('EPERM');
    const held: Held[] = [];
    const children = childrenToLock(r, source, victim);
    return withCleanup(
      () => andThen(lockAll(task, children, held), () => renameLocked(task, r, source, victim, children)),
      () => {
        for (const guard of held.reverse()) guard.release();
      },
    );
  });
}

/** With all who take part locked: the call, and the names in memory after it. */
function renameLocked(
  task: Task,
  r: Rename,
  source: Inode,
  victim: Inode | undefined,
  children: readonly Child[],
): Awaitable<void> {
  const { oldDir, newDir, old, target, flags } = r;
  const { rename } = oldDir.i_op;
  if (rename === undefined) throw errno('EPERM');
  if (((source.i_flags | (victim?.i_flags ?? 0)) & S_SWAPFILE) !== 0) throw errno('EPERM');
  checkLinks(r, source, victim);
  const moved = oldDir !== newDir;
  const participants = {
    old_dir: oldDir.i_rwsem,
    new_dir: newDir.i_rwsem,
    victim: children.some(({ of }) => of === 'victim') ? victim?.i_rwsem : undefined,
    sb: moved ? oldDir.i_sb.s_vfs_rename_sem : undefined,
    'source/non-directory': isDir(source) ? undefined : source.i_rwsem,
    'source/moved-directory': isDir(source) && moved ? source.i_rwsem : undefined,
  };
  const exchange = (flags & RENAME_EXCHANGE) !== 0;
  const renamed = invoke(task, rows.rename, participants, rename, oldDir, old, newDir, target, flags);
  return andThen(renamed, () => {
    if (exchange) {
      d_exchange(task, old, target);
      return undefined;
    }
    const replacesDir = victim !== undefined && isDir(victim);
    return andThen(replacesDir ? shrink_dcache_parent(task, target) : undefined, () => {
      if (replacesDir) inode_set_dead(task, victim);
      return d_move(task, old, target);
    });
  });
}

/** One who takes part in a rename without being a parent, and the level on which it is locked. */
interface Child {
  readonly of: 'source' | 'victim';
  readonly inode: Inode;
  readonly subclass: number;
}

/**
 * What the names stand for, as it is locked: every file, and the directories whose '..' changes or that go. Of two files the one with the lower address
 * first, here the inode number; a directory before a file; of two directories the source.
 */
function childrenToLock(r: Rename, source: Inode, victim: Inode | undefined): readonly Child[] {
  const moved = r.oldDir !== r.newDir;
  const children: Child[] = [];
  const add = (of: Child['of'], inode: Inode, subclass: number): void => {
    children.push({ of, inode, subclass });
  };
  // A directory that is exchanged within its parent keeps its '..'.
  const locksVictimDir = moved || (r.flags & RENAME_EXCHANGE) === 0;
  if (isDir(source)) {
    if (moved) add('source', source, I_MUTEX_CHILD);
    if (victim !== undefined && (!isDir(victim) || locksVictimDir)) add('victim', victim, I_MUTEX_NORMAL);
  } else if (victim === undefined) {
    add('source', source, I_MUTEX_NORMAL);
  } else if (isDir(victim)) {
    if (locksVictimDir) add('victim', victim, I_MUTEX_CHILD);
    add('source', source, I_MUTEX_NORMAL);
  } else {
    const sourceFirst = source.i_ino < victim.i_ino;
    if (sourceFirst) add('source', source, I_MUTEX_NORMAL);
    add('victim', victim, sourceFirst ? I_MUTEX_NONDIR2 : I_MUTEX_NORMAL);
    if (!sourceFirst) add('source', source, I_MUTEX_NONDIR2);
  }
  return children;
}

function lockAll(task: Task, children: readonly Child[], held: Held[]): Awaitable<void> {
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
