/** The names in memory (fs/dcache.c). */

import { dentry_operations as rows } from '../contract/dentry.js';
import { call } from '../locking/context.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import { DCACHE_DISCONNECTED, DCACHE_KILLED, DCACHE_UNHASHED, Dentry } from './dentry.js';
import { iput } from './icache.js';
import type { Inode } from './inode.js';
import type { SuperBlock } from './super-block.js';

/** Unused dentries kept for the next user. */
const MAX_UNUSED = 50_000;

const unusedOf = new WeakMap<SuperBlock, Set<Dentry>>();

function unused(sb: SuperBlock): Set<Dentry> {
  let set = unusedOf.get(sb);
  if (set === undefined) {
    set = new Set();
    unusedOf.set(sb, set);
  }
  return set;
}

/** A fresh negative dentry with a reference, not hashed (d_alloc). It holds a reference to its parent. */
export function d_alloc(task: Task, parent: Dentry, name: string): Dentry {
  const dentry = new Dentry(parent.d_sb, name, parent, parent.d_sb.s_d_op);
  dget(parent);
  if (dentry.d_op.d_init !== undefined) call(task, rows.d_init, {}, () => dentry.d_op.d_init?.(task, dentry));
  return dentry;
}

export function dget(dentry: Dentry): Dentry {
  if (dentry.d_count++ === 0) unused(dentry.d_sb).delete(dentry);
  return dentry;
}

/** The hashed child of that name with a reference, or undefined (d_lookup). */
export function d_lookup(parent: Dentry, name: string): Dentry | undefined {
  const found = parent.d_children?.get(name);
  return found === undefined ? undefined : dget(found);
}

/** Let it be found by its name (d_rehash). */
export function d_rehash(dentry: Dentry): void {
  const { d_parent: parent } = dentry;
  parent.d_children ??= new Map();
  parent.d_children.set(dentry.d_name, dentry);
  dentry.d_flags &= ~DCACHE_UNHASHED;
}

/** No lookup finds it any more (d_drop). */
export function d_drop(dentry: Dentry): void {
  if ((dentry.d_flags & DCACHE_UNHASHED) !== 0) return;
  const siblings = dentry.d_parent.d_children;
  if (siblings?.get(dentry.d_name) === dentry) siblings.delete(dentry.d_name);
  dentry.d_flags |= DCACHE_UNHASHED;
}

/** Give a negative dentry its inode, whose reference it takes over (d_instantiate). */
export function d_instantiate(task: Task, dentry: Dentry, inode: Inode): void {
  const lock = dentry.d_lock.lock(task);
  dentry.d_inode = inode;
  inode.i_dentry.push(dentry);
  lock.release();
}

/** Fill a dentry in and hash it; `inode` undefined makes it negative (d_add). */
export function d_add(task: Task, dentry: Dentry, inode: Inode | undefined): void {
  if (inode !== undefined) d_instantiate(task, dentry, inode);
  d_rehash(dentry);
}

/**
 * As d_add, but a directory that is in memory without a place, or in another, gets this place (d_splice_alias).
 * @returns the dentry to use instead of `dentry`, with a reference, or undefined
 */
export function d_splice_alias(task: Task, inode: Inode | undefined, dentry: Dentry): Awaitable<Dentry | undefined> {
  const alias = inode?.i_dentry[0];
  if (inode === undefined || alias === undefined || !isDirectory(inode)) {
    d_add(task, dentry, inode);
    return undefined;
  }
  dget(alias);
  return andThen(iput(task, inode), () => andThen(d_move(task, alias, dentry), () => alias));
}

function isDirectory(inode: Inode): boolean {
  return (inode.i_mode & 0o170000) === 0o040000;
}

/** The root of a tree: takes over the reference to `inode` (d_make_root). */
export function d_make_root(task: Task, inode: Inode): Dentry {
  const root = new Dentry(inode.i_sb, '/', undefined, inode.i_sb.s_d_op);
  d_instantiate(task, root, inode);
  return root;
}

/**
 * Any dentry of an inode with a reference: one with a name if there is one, else one without (d_obtain_alias). Takes over the reference to
 * `inode`.
 */
export function d_obtain_alias(task: Task, inode: Inode): Awaitable<Dentry> {
  const alias = inode.i_dentry[0];
  if (alias !== undefined) {
    dget(alias);
    return andThen(iput(task, inode), () => alias);
  }
  const anonymous = new Dentry(inode.i_sb, '/', undefined, inode.i_sb.s_d_op);
  anonymous.d_flags |= DCACHE_DISCONNECTED;
  d_instantiate(task, anonymous, inode);
  return anonymous;
}

/** Give a reference back. An unused dentry stays for the next user if it can be found again (dput). */
export function dput(task: Task, dentry: Dentry): Awaitable<void> {
  if (--dentry.d_count > 0) return undefined;
  const named = (dentry.d_flags & (DCACHE_UNHASHED | DCACHE_DISCONNECTED)) === 0;
  const gone = dentry.d_inode !== undefined && dentry.d_inode.i_nlink === 0;
  if (!named || gone) return kill(task, dentry);
  const set = unused(dentry.d_sb);
  set.add(dentry);
  return set.size <= MAX_UNUSED ? undefined : shrink(task, set, MAX_UNUSED * 0.9);
}

/** Drop unused dentries, oldest first. */
async function shrink(task: Task, set: Set<Dentry>, target: number): Promise<void> {
  for (const dentry of set) {
    if (set.size <= target) return;
    await kill(task, dentry);
  }
}

/** Take an unused dentry apart: its inode and its parent lose a reference. */
function kill(task: Task, dentry: Dentry): Awaitable<void> {
  if ((dentry.d_flags & DCACHE_KILLED) !== 0) return undefined;
  const { d_op: op, d_parent: parent, d_inode: inode } = dentry;
  unused(dentry.d_sb).delete(dentry);
  if (op.d_prune !== undefined) {
    using _lock = dentry.d_lock.lock(task);
    call(task, rows.d_prune, {}, () => op.d_prune?.(task, dentry));
  }
  d_drop(dentry);
  dentry.d_flags |= DCACHE_KILLED;
  const released = inode === undefined ? undefined : detach(task, dentry, inode);
  return andThen(released, () => {
    if (op.d_release !== undefined) call(task, rows.d_release, {}, () => op.d_release?.(task, dentry));
    return parent === dentry ? undefined : dput(task, parent);
  });
}

/** The dentry lets its inode go (dentry_unlink_inode). */
function detach(task: Task, dentry: Dentry, inode: Inode): Awaitable<void> {
  dentry.d_inode = undefined;
  const at = inode.i_dentry.indexOf(dentry);
  if (at >= 0) inode.i_dentry.splice(at, 1);
  if (dentry.d_op.d_iput === undefined) return iput(task, inode);
  return call(task, rows.d_iput, {}, () => dentry.d_op.d_iput?.(task, dentry, inode));
}

/** The name is gone: the dentry becomes unhashed, its inode lives as long as it is used (d_delete). */
export function d_delete(_task: Task, dentry: Dentry): void {
  d_drop(dentry);
}

/** `dentry` takes the name and place of `target`, which is dropped (d_move). Takes rename_lock. */
export function d_move(task: Task, dentry: Dentry, target: Dentry): Awaitable<void> {
  using _rename = dentry.d_sb.rename_lock.write(task);
  const oldParent = dentry.d_parent;
  d_drop(dentry);
  d_drop(target);
  const wasRoot = oldParent === dentry;
  dentry.d_name = target.d_name;
  dentry.d_parent = dget(target.d_parent);
  dentry.d_flags &= ~DCACHE_DISCONNECTED;
  d_rehash(dentry);
  return wasRoot ? undefined : dput(task, oldParent);
}

/** Two dentries swap their names and places (d_exchange). Takes rename_lock. */
export function d_exchange(task: Task, a: Dentry, b: Dentry): void {
  using _rename = a.d_sb.rename_lock.write(task);
  d_drop(a);
  d_drop(b);
  [a.d_name, b.d_name] = [b.d_name, a.d_name];
  [a.d_parent, b.d_parent] = [b.d_parent, a.d_parent];
  d_rehash(a);
  d_rehash(b);
}

/** Whether `dentry` is `ancestor` or below it (is_subdir). */
export function is_subdir(dentry: Dentry, ancestor: Dentry): boolean {
  for (let at = dentry; ; at = at.d_parent) {
    if (at === ancestor) return true;
    if (at.isRoot) return false;
  }
}

/** Drop everything that is not in use, leaves first: the tree goes away (shrink_dcache_for_umount). */
export async function shrink_dcache_for_umount(task: Task, sb: SuperBlock): Promise<void> {
  const set = unused(sb);
  while (set.size > 0) await shrink(task, set, 0);
}
