/** Dentries and inodes together (fs/dcache.c): giving a dentry its inode, finding the dentries of an inode, moving dentries in the tree. */
import { GUARDED, guard_read, guard_write } from '../locking/guarded.js';
import type { Awaitable } from '../sched/awaitable.js';
import { andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { __d_drop, __d_rehash, aliasesToChange, d_drop, d_rehash, dget, dput } from './dcache.js';
import { d_lookup_done } from './dcache-parallel.js';
import { shrink_dcache_parent } from './dcache-shrink.js';
import { DCACHE_DISCONNECTED, DCACHE_UNHASHED, Dentry, d_init_name, d_set_inode, d_set_place } from './dentry.js';
import { iput } from './icache.js';
import { type Inode, inode_init, isDir } from './inode.js';
import { check_named } from './inode-free.js';

/** The level of d_lock for the second of two dentries (DENTRY_D_LOCK_NESTED). */
const DENTRY_D_LOCK_NESTED = 1;

/** Give a negative dentry its inode, whose reference it takes over (d_instantiate). Takes i_lock, then d_lock. */
export function d_instantiate(task: Task, dentry: Dentry, inode: Inode): void {
  check_named(task, inode);
  const names = inode.i_lock.lock(task);
  const lock = dentry.d_lock.lock(task);
  d_set_inode(task, dentry, inode);
  aliasesToChange(task, inode).push(dentry);
  lock.release();
  names.release();
}

/** Fill a dentry in and hash it (d_add); `inode` undefined makes it negative. Takes over the reference to the inode. */
export function d_add(task: Task, dentry: Dentry, inode: Inode | undefined): void {
  if (inode !== undefined) d_instantiate(task, dentry, inode);
  d_rehash(task, dentry);
  d_lookup_done(dentry);
}

/** Give the dentry of an unnamed file its inode, which nobody else has yet (d_tmpfile): it has no link left, and its number for a name. */
export function d_tmpfile(task: Task, dentry: Dentry, inode: Inode): void {
  if (inode.i_nlink > 0) inode_init(inode).i_nlink--;
  d_init_name(dentry, `#${inode.i_ino}`);
  d_instantiate(task, dentry, inode);
}

/** A dentry of the inode, with a reference: a hashed one if there is any (d_find_any_alias). */
export function d_find_any_alias(inode: Inode): Dentry | undefined {
  const alias = anyAlias(inode);
  return alias === undefined ? undefined : dget(alias);
}

/** As d_find_any_alias, without a reference. */
export function anyAlias(inode: Inode): Dentry | undefined {
  const [first] = inode.i_dentry;
  if (first === undefined || (first.d_flags & DCACHE_UNHASHED) === 0) return first;
  return inode.i_dentry.find((dentry) => (dentry.d_flags & DCACHE_UNHASHED) === 0) ?? first;
}

/**
 * As d_add, but a directory that is in memory without a place, or in another, gets this place, with all that is below it (d_splice_alias).
 * Takes over the reference to the inode.
 * @returns the dentry to use instead of `dentry`, with a reference, or undefined
 * @throws ELOOP for a directory below itself; ESTALE where the other place is in use now
 */
export function d_splice_alias(task: Task, inode: Inode | undefined, dentry: Dentry): Awaitable<Dentry | undefined> {
  if (inode === undefined || !isDir(inode)) {
    d_add(task, dentry, inode);
    return undefined;
  }
  const alias = d_find_any_alias(inode);
  if (alias === undefined) {
    d_add(task, dentry, inode);
    return undefined;
  }
  return andThen(iput(task, inode), () =>
    andThen(spliceOrDrop(task, alias, dentry), () => {
      d_lookup_done(dentry);
      return alias;
    }),
  );
}

function spliceOrDrop(task: Task, alias: Dentry, dentry: Dentry): Awaitable<void> {
  try {
    return splice(task, alias, dentry);
  } catch (error) {
    return andThen(dput(task, alias), () => {
      throw error;
    });
  }
}

function splice(task: Task, alias: Dentry, dentry: Dentry): Awaitable<void> {
  if (is_subdir(dentry, alias)) throw errno('ELOOP', `directory ${alias.d_name} would be below itself`);
  const { d_sb: sb, d_parent: from } = alias;
  if (alias.isRoot || from === dentry.d_parent) return d_move(task, alias, dentry);
  // It is elsewhere in the tree: to be moved only if nobody is at work in its old place (__d_unalias).
  const rename = sb.s_vfs_rename_sem.tryLock(task);
  if (rename === undefined) throw errno('ESTALE');
  try {
    const parent = from.d_inode?.i_rwsem.tryRead(task);
    if (parent === undefined) throw errno('ESTALE');
    try {
      return d_move(task, alias, dentry);
    } finally {
      parent.release();
    }
  } finally {
    rename.release();
  }
}

/** The root of a tree: takes over the reference to `inode` (d_make_root). */
export function d_make_root(task: Task, inode: Inode): Dentry {
  const root = new Dentry(inode.i_sb, '/', undefined, inode.i_sb.s_d_op);
  d_instantiate(task, root, inode);
  return root;
}

/**
 * Any dentry of an inode with a reference: one with a name if there is one, else one without (d_obtain_alias). Takes over the reference to `inode`.
 */
export function d_obtain_alias(task: Task, inode: Inode): Awaitable<Dentry> {
  const alias = d_find_any_alias(inode);
  if (alias !== undefined) return andThen(iput(task, inode), () => alias);
  const anonymous = new Dentry(inode.i_sb, '/', undefined, inode.i_sb.s_d_op);
  anonymous.d_flags |= DCACHE_DISCONNECTED;
  d_instantiate(task, anonymous, inode);
  return anonymous;
}

/**
 * `dentry` takes the name and place of `target`, which is dropped (d_move). Takes rename_lock and both d_locks. Between directories the caller holds s_vfs_rename_sem.
 */
export function d_move(task: Task, dentry: Dentry, target: Dentry): Awaitable<void> {
  if (dentry === target) return undefined;
  const rename = dentry.d_sb.rename_lock.write(task);
  const first = dentry.d_lock.lock(task);
  const second = target.d_lock.lock(task, DENTRY_D_LOCK_NESTED);
  const oldParent = dentry.isRoot ? undefined : dentry.d_parent;
  const newParent = target.d_parent;
  if (oldParent !== undefined && oldParent !== newParent) mayMove(task, dentry, oldParent, newParent);
  __d_drop(task, dentry);
  __d_drop(task, target);
  // Nobody may find the one or the other in between.
  guard_write(task, GUARDED.d_place, target.d_lock);
  d_set_place(task, dentry, target.d_name, target.d_key, dget(newParent));
  dentry.d_flags &= ~DCACHE_DISCONNECTED;
  __d_rehash(task, dentry);
  second.release();
  first.release();
  rename.release();
  return oldParent === undefined ? undefined : dput(task, oldParent);
}

/** Between directories: one such move of a filesystem at a time, and both directories locked. */
function mayMove(task: Task, dentry: Dentry, from: Dentry, to: Dentry): void {
  guard_write(task, GUARDED.dotdot, dentry.d_sb.s_vfs_rename_sem);
  for (const { d_inode: dir } of [from, to]) if (dir !== undefined) guard_read(task, GUARDED.d_siblings, dir.i_rwsem);
}

/** Two dentries swap their names and places (d_exchange). Takes rename_lock and both d_locks. */
export function d_exchange(task: Task, a: Dentry, b: Dentry): void {
  using _rename = a.d_sb.rename_lock.write(task);
  using _first = a.d_lock.lock(task);
  using _second = b.d_lock.lock(task, DENTRY_D_LOCK_NESTED);
  if (a.d_parent !== b.d_parent) mayMove(task, a, a.d_parent, b.d_parent);
  __d_drop(task, a);
  __d_drop(task, b);
  const { d_name, d_key, d_parent } = a;
  d_set_place(task, a, b.d_name, b.d_key, b.d_parent);
  d_set_place(task, b, d_name, d_key, d_parent);
  __d_rehash(task, a);
  __d_rehash(task, b);
}

/** Whether `dentry` is `ancestor` or below it (is_subdir). */
export function is_subdir(dentry: Dentry, ancestor: Dentry): boolean {
  for (let at = dentry; ; at = at.d_parent) {
    if (at === ancestor) return true;
    if (at.isRoot) return false;
  }
}

/** The path from the root, '/' for the root itself (dentry_path). A removed name has ' (deleted)' behind it, as in /proc. */
export function dentry_path(dentry: Dentry): string {
  const names: string[] = [];
  for (let at = dentry; !at.isRoot; at = at.d_parent) names.push(at.d_name);
  const path = `/${names.reverse().join('/')}`;
  return (dentry.d_flags & DCACHE_UNHASHED) !== 0 && !dentry.isRoot ? `${path} (deleted)` : path;
}

/** What is cached about a name is not true any more: nobody finds it, and what is unused below it goes (d_invalidate). */
export function d_invalidate(task: Task, dentry: Dentry): Awaitable<void> {
  if ((dentry.d_flags & DCACHE_UNHASHED) !== 0) return undefined;
  d_drop(task, dentry);
  return shrink_dcache_parent(task, dentry);
}
