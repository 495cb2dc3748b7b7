/**
 * The names in memory (fs/dcache.c): making, finding, dropping and freeing dentries. Their first lookup is in dcache-parallel.ts, freeing all of them in
 * dcache-shrink.ts, moving them and connecting inodes to them in dcache-alias.ts.
 */
import { dentry_operations as rows } from '../contract/dentry.js';
import { call, invoke } from '../locking/context.js';
import { GUARDED, guard_write } from '../locking/guarded.js';
import type { Rcu } from '../locking/rcu.js';
import { type Awaitable, andThen, nothing } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import { might_sleep } from '../sched/wait.js';
import {
  DCACHE_DISCONNECTED,
  DCACHE_KILLED,
  DCACHE_REFERENCED,
  DCACHE_UNHASHED,
  Dentry,
  d_set_inode,
} from './dentry.js';
import { iput } from './icache.js';
import type { Inode } from './inode.js';
import type { LruStatus } from './lru.js';
import type { SuperBlock } from './super-block.js';

/** The locks that no operation on a dentry may be called with, but for those whose row says so. */
export function dentryLocks(dentry: Dentry): { dentry: Dentry['d_lock']; dcache: SuperBlock['rename_lock'] } {
  return { dentry: dentry.d_lock, dcache: dentry.d_sb.rename_lock };
}

/** As dentryLocks, with the read section of an RCU walk: for operations that are called in one, or never in one. */
export function dentryLocksAndRcu(dentry: Dentry): ReturnType<typeof dentryLocks> & { walk: SuperBlock['rcu'] } {
  return { ...dentryLocks(dentry), walk: dentry.d_sb.rcu };
}

/** What a name is found by in `parent` (->d_hash). @param walk the read section of an RCU walk, where it is one */
export function keyOf(task: Task, parent: Dentry, name: string, walk?: Rcu): string {
  const { d_op: op } = parent;
  if (op.d_hash === undefined) return name;
  const participants = { ...dentryLocks(parent), walk };
  return call(task, rows.d_hash, participants, () => op.d_hash?.(task, parent, name) ?? name);
}

/**
 * The dentry under which a filesystem of layers has `inode`, or what is topmost where that is undefined (d_real). No reference; the dentry itself where there are no
 * layers.
 */
export function d_real(task: Task, dentry: Dentry, inode: Inode | undefined): Dentry {
  const { d_real: op } = dentry.d_op;
  if (op === undefined) return dentry;
  const participants = { ...dentryLocks(dentry), walk: dentry.d_sb.rcu };
  // It looks at what is in memory: nothing in it waits.
  return call(task, rows.d_real, participants, () => op(task, dentry, inode)) as Dentry;
}

/** A fresh negative dentry with a reference, not hashed (d_alloc). It holds a reference to its parent. Its memory may have to be waited for. @throws what d_init throws */
export function d_alloc(task: Task, parent: Dentry, name: string): Dentry {
  if (task.atomic > 0) might_sleep(task, 'the memory of a dentry');
  const dentry = new Dentry(parent.d_sb, name, parent, parent.d_sb.s_d_op);
  if (parent.d_op.d_hash !== undefined) dentry.d_key = keyOf(task, parent, name);
  const { d_init } = dentry.d_op;
  if (d_init !== undefined) invoke(task, rows.d_init, dentryLocksAndRcu(dentry), d_init, dentry);
  dget(parent);
  return dentry;
}

/** Take a reference to a dentry that has one, or that a parent's children or an inode's names gave. */
export function dget(dentry: Dentry): Dentry {
  // It may stay on the list of unused ones: whoever prunes that sees that it is in use.
  dentry.d_count++;
  return dentry;
}

/**
 * The hashed child of that name with a reference, or undefined (d_lookup). Takes no lock; a filesystem that compares names itself does it in a read
 * section of rename_lock.
 * @param walk the read section of an RCU walk, where it is one
 */
export function d_lookup(task: Task, parent: Dentry, name: string, walk?: Rcu): Dentry | undefined {
  const { d_children: children, d_op: op } = parent;
  if (children === undefined) return undefined;
  if (op.d_hash === undefined && op.d_compare === undefined) {
    const found = children.get(name);
    return found === undefined ? undefined : dget(found);
  }
  const found = children.get(keyOf(task, parent, name, walk));
  return found === undefined || !sameName(task, found, name, walk) ? undefined : dget(found);
}

/** Whether a dentry that was found by its key has that name, as its filesystem compares them (->d_compare). */
function sameName(task: Task, dentry: Dentry, name: string, walk: Rcu | undefined): boolean {
  const { d_compare } = dentry.d_op;
  if (d_compare === undefined) return true;
  const participants = { ...dentryLocks(dentry), walk };
  return dentry.d_sb.rename_lock.read(task, () =>
    call(task, rows.d_compare, participants, () => d_compare(task, dentry, dentry.d_name, name)),
  );
}

/** Let it be found by its name (d_rehash). Takes d_lock. */
export function d_rehash(task: Task, dentry: Dentry): void {
  if ((dentry.d_flags & DCACHE_UNHASHED) === 0 || dentry.d_parent === dentry) return;
  using _lock = dentry.d_lock.lock(task);
  __d_rehash(task, dentry);
}

/** As d_rehash, with d_lock held. */
export function __d_rehash(task: Task, dentry: Dentry): void {
  const { d_parent: parent } = dentry;
  if ((dentry.d_flags & DCACHE_UNHASHED) === 0 || parent === dentry) return;
  guard_write(task, GUARDED.d_hash, dentry.d_lock);
  parent.d_children ??= new Map();
  parent.d_children.set(dentry.d_key, dentry);
  dentry.d_flags &= ~DCACHE_UNHASHED;
}

/** No lookup finds it any more (d_drop). Takes d_lock. */
export function d_drop(task: Task, dentry: Dentry): void {
  if ((dentry.d_flags & DCACHE_UNHASHED) !== 0) return;
  using _lock = dentry.d_lock.lock(task);
  __d_drop(task, dentry);
}

/** As d_drop, with d_lock held. */
export function __d_drop(task: Task, dentry: Dentry): void {
  if ((dentry.d_flags & DCACHE_UNHASHED) !== 0) return;
  guard_write(task, GUARDED.d_hash, dentry.d_lock);
  const siblings = dentry.d_parent.d_children;
  if (siblings?.get(dentry.d_key) === dentry) siblings.delete(dentry.d_key);
  dentry.d_flags |= DCACHE_UNHASHED;
}

/** Give a reference back (dput). An unused dentry stays for the next user if it can be found again. Nobody may call it who may not sleep, whether or not it is the last one. */
export function dput(task: Task, dentry: Dentry): Awaitable<void> {
  if (task.atomic > 0) might_sleep(task, 'dput');
  if (dentry.d_count > 1) {
    dentry.d_count--;
    return undefined;
  }
  return dputLast(task, dentry);
}

/** Give back the reference to a dentry of which nothing came, and throw why: for orElse. */
export function putAndThrow(error: unknown, task: Task, dentry: Dentry): Awaitable<never> {
  return andThen(dput(task, dentry), () => {
    throw error;
  });
}

function dputLast(task: Task, dentry: Dentry): Awaitable<void> {
  dentry.d_count--;
  if (!retain(task, dentry)) return kill(task, dentry);
  const { d_sb: sb } = dentry;
  if (dentry.lru !== undefined) {
    dentry.d_flags |= DCACHE_REFERENCED;
    return undefined;
  }
  sb.s_dentry_lru.add(dentry);
  return sb.s_dentry_lru.count > sb.s_max_unused_dentries ? trim_dcache(task, sb) : undefined;
}

/** Whether an unused dentry is worth keeping (retain_dentry). */
function retain(task: Task, dentry: Dentry): boolean {
  if (!retainable(dentry)) return false;
  const { d_delete } = dentry.d_op;
  if (d_delete === undefined) return true;
  using _lock = dentry.d_lock.lock(task);
  return !invoke(task, rows.d_delete, dentryLocksAndRcu(dentry), d_delete, dentry);
}

/** Take an unused dentry apart (__dentry_kill): its inode and its parent lose a reference, and so on up the tree. */
export function kill(task: Task, dentry: Dentry): Awaitable<void> {
  for (let at: Dentry | undefined = dentry; at !== undefined; ) {
    const released = killOne(task, at);
    const parent: Dentry | undefined = at.d_parent === at ? undefined : at.d_parent;
    if (released instanceof Promise) return andThen(released, putParent, task, parent);
    if (parent === undefined) return undefined;
    if (parent.d_count > 1 || retainable(parent)) return dput(task, parent);
    // Without recursion: a chain of unhashed directories may be long.
    parent.d_count--;
    at = parent;
  }
  return undefined;
}

function putParent(_released: void, task: Task, parent: Dentry | undefined): Awaitable<void> {
  return parent === undefined ? undefined : dput(task, parent);
}

/** It can be found again; not in a directory that was removed, which would live for it until reclaim has to delete it. */
function retainable({ d_flags, d_parent: parent }: Dentry): boolean {
  if ((d_flags & (DCACHE_UNHASHED | DCACHE_DISCONNECTED)) !== 0) return false;
  return parent.d_inode === undefined || parent.d_inode.i_nlink > 0;
}

function killOne(task: Task, dentry: Dentry): Awaitable<void> {
  if ((dentry.d_flags & DCACHE_KILLED) !== 0) return undefined;
  const { d_op: op, d_inode: inode } = dentry;
  dentry.d_sb.s_dentry_lru.remove(dentry);
  dentry.d_flags |= DCACHE_KILLED;
  {
    using _lock = dentry.d_lock.lock(task);
    if (op.d_prune !== undefined) invoke(task, rows.d_prune, dentryLocksAndRcu(dentry), op.d_prune, dentry);
    __d_drop(task, dentry);
  }
  const released = inode === undefined ? undefined : dentry_unlink_inode(task, dentry, inode);
  return op.d_release === undefined ? released : andThen(released, releaseDentry, task, dentry);
}

function releaseDentry(_released: void, task: Task, dentry: Dentry): void {
  const { d_release } = dentry.d_op;
  if (d_release !== undefined) invoke(task, rows.d_release, dentryLocksAndRcu(dentry), d_release, dentry);
}

/** The names of an inode, to change: its i_lock is held. */
export function aliasesToChange(task: Task, inode: Inode): Dentry[] {
  guard_write(task, GUARDED.i_dentry, inode.i_lock);
  return inode.i_dentry;
}

/** The dentry becomes negative, and its inode loses a reference (dentry_unlink_inode). Takes i_lock, then d_lock. */
export function dentry_unlink_inode(task: Task, dentry: Dentry, inode: Inode): Awaitable<void> {
  const aliases = inode.i_lock.lock(task);
  const lock = dentry.d_lock.lock(task);
  d_set_inode(task, dentry, undefined);
  const names = aliasesToChange(task, inode);
  const at = names.indexOf(dentry);
  if (at >= 0) names.splice(at, 1);
  lock.release();
  aliases.release();
  const { d_iput } = dentry.d_op;
  if (d_iput === undefined) return iput(task, inode);
  return invoke(task, rows.d_iput, dentryLocksAndRcu(dentry), d_iput, dentry, inode);
}

/**
 * The name is gone from the directory (d_delete): a dentry that nobody else uses becomes a negative one, others are unhashed, and their inode lives as long as they are used.
 * With i_rwsem of the directory held exclusively.
 */
export function d_delete(task: Task, dentry: Dentry): Awaitable<void> {
  const { d_inode: inode } = dentry;
  if (dentry.d_count === 1 && inode !== undefined) return dentry_unlink_inode(task, dentry, inode);
  d_drop(task, dentry);
  return undefined;
}

/** Free a few of the oldest: what one more unused dentry costs. Not inside a transaction. */
function trim_dcache(task: Task, sb: SuperBlock): Awaitable<void> {
  if (task.journal_info !== undefined || task.atomic > 0) return undefined;
  return andThen(prune_dcache_sb(task, sb, 4), nothing);
}

/** Look at `nr` unused dentries, oldest first, and free those that were not used again (prune_dcache_sb). @returns how many went */
export function prune_dcache_sb(task: Task, sb: SuperBlock, nr: number): Awaitable<number> {
  return sb.s_dentry_lru.walk(nr, pruneDentry, task);
}

function pruneDentry(dentry: Dentry, task: Task): LruStatus {
  const referenced = (dentry.d_flags & DCACHE_REFERENCED) !== 0;
  dentry.d_flags &= ~DCACHE_REFERENCED;
  if (dentry.d_count > 0) return 'removed';
  return referenced ? 'rotate' : kill(task, dentry);
}
