/** The inodes in memory (fs/inode.c): hash, reference counts, the list of unused ones, eviction. */

import { super_operations as rows } from '../contract/super.js';
import { invoke, invoke_taskless } from '../locking/context.js';
import { GUARDED, guard_write } from '../locking/guarded.js';
import { truncate_inode_pages_final } from '../mm/truncate.js';
import { type Awaitable, andThen, nothing, orElse } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { might_sleep } from '../sched/wait.js';
import { S_IFDIR, S_IFMT } from '../uapi/stat.js';
import { write_inode_now } from './fs-writeback.js';
import {
  I_CLEAR,
  I_DIRTY,
  I_DIRTY_SYNC,
  I_DIRTY_TIME,
  I_FREEING,
  I_NEW,
  I_REFERENCED,
  I_SYNC,
  I_WILL_FREE,
  Inode,
  inode_state_assign,
  inode_state_change,
} from './inode.js';
import {
  inode_add_lru,
  inode_busy,
  inode_idle,
  inode_wait,
  inode_wait_for_writeback,
  mark_inode_dirty,
} from './inode-dirty.js';
import { call_free_inode, check_completed, check_evict, check_freed } from './inode-free.js';
import type { LruStatus } from './lru.js';
import { SB_ACTIVE, type SuperBlock } from './super-block.js';

const I_DIRTY_ALL = I_DIRTY | I_DIRTY_TIME;

/** A fresh inode of the filesystem, with one reference, not in the hash (new_inode). Its memory may have to be waited for. */
export function new_inode(task: Task, sb: SuperBlock): Inode {
  if (task.atomic > 0) might_sleep(task, 'the memory of an inode');
  const { alloc_inode } = sb.s_op;
  if (alloc_inode === undefined) return new Inode(sb);
  return invoke_taskless(task, rows.alloc_inode, {}, alloc_inode, sb);
}

/** The inode in memory with a reference, or undefined (ilookup). One that is being read or freed counts as absent. */
export function ilookup(sb: SuperBlock, ino: number): Inode | undefined {
  const inode = sb.inodeHash.get(ino);
  if (inode === undefined || (inode.i_state & (I_FREEING | I_WILL_FREE | I_NEW)) !== 0) return undefined;
  ihold(inode);
  return inode;
}

/**
 * The inode by its number, with a reference (iget_locked). A fresh one has I_NEW set: its filesystem fills it in and calls unlock_new_inode, or iget_failed;
 * others who want it wait until then, and until one that is being freed is gone.
 */
export function iget_locked(task: Task, sb: SuperBlock, ino: number): Awaitable<Inode> {
  const inode = sb.inodeHash.get(ino);
  if (inode === undefined) {
    const fresh = new_inode(task, sb);
    fresh.i_ino = ino;
    inode_state_change(task, fresh, I_NEW);
    inode_busy(task, fresh, I_NEW);
    sb.inodeHash.set(ino, fresh);
    return fresh;
  }
  if ((inode.i_state & (I_FREEING | I_WILL_FREE | I_NEW)) === 0) {
    ihold(inode);
    return inode;
  }
  return inode_wait(task, inode, `inode ${ino}`, I_NEW).then(() => iget_locked(task, sb, ino));
}

/**
 * Put a fresh inode in the hash, I_NEW until unlock_new_inode (insert_inode_locked). One of the same number that is being freed does not count.
 * @throws EBUSY where the number is in use
 */
export function insert_inode_locked(task: Task, inode: Inode): void {
  const { inodeHash } = inode.i_sb;
  const old = inodeHash.get(inode.i_ino);
  if (old !== undefined && (old.i_state & (I_FREEING | I_WILL_FREE)) === 0) {
    throw errno('EBUSY', `inode ${inode.i_ino} exists already`);
  }
  inode_state_change(task, inode, I_NEW);
  inode_busy(task, inode, I_NEW);
  inodeHash.set(inode.i_ino, inode);
}

/** The inode is complete: whoever waits for it goes on (unlock_new_inode). */
export function unlock_new_inode(task: Task, inode: Inode): void {
  check_completed(task, inode);
  // Directories are locked in an order of their own (lockdep_annotate_inode_mutex_key).
  const { i_sb: sb } = inode;
  inode.i_rwsem.key = (inode.i_mode & S_IFMT) === S_IFDIR ? sb.i_mutex_dir_key : sb.i_mutex_key;
  inode_state_change(task, inode, 0, I_NEW);
  inode_idle(inode, I_NEW);
  inode.i_wait?.wake_all();
}

/** The inode could not be read: it leaves the hash and is gone; who waited for it tries again (iget_failed, discard_new_inode). */
export function iget_failed(task: Task, inode: Inode): void {
  unhash(inode);
  inode_state_change(task, inode, I_FREEING | I_CLEAR, ~0);
  inode_idle(inode, I_NEW);
  inode.i_wait?.wake_all();
}

function unhash(inode: Inode): void {
  const { inodeHash } = inode.i_sb;
  if (inodeHash.get(inode.i_ino) === inode) inodeHash.delete(inode.i_ino);
}

/** Take a reference to an inode that has one, or that the hash gave (ihold, __iget). */
export function ihold(inode: Inode): void {
  inode.i_count++;
}

/** Take a reference unless it is being freed (igrab). */
export function igrab(_task: Task, inode: Inode): Inode | undefined {
  if ((inode.i_state & (I_FREEING | I_WILL_FREE)) !== 0) return undefined;
  ihold(inode);
  return inode;
}

/**
 * Give a reference back (iput). After the last one the filesystem decides, with i_lock held, whether the inode stays for the next user; one without a name goes.
 * May wait for the eviction, so that nobody may call it who may not sleep, whether or not it is the last one.
 */
export function iput(task: Task, inode: Inode): Awaitable<void> {
  if (task.atomic > 0) might_sleep(task, 'iput');
  if (inode.i_count > 1) {
    inode.i_count--;
    return undefined;
  }
  if (inode.i_nlink > 0 && (inode.i_state & I_DIRTY_TIME) !== 0 && (inode.i_state & I_FREEING) === 0) {
    // Times that were kept back belong on the device before the inode is forgotten.
    return andThen(mark_inode_dirty(task, inode, I_DIRTY_SYNC), iputMarked, task, inode);
  }
  return iputLast(task, inode);
}

function iputMarked(_marked: void, task: Task, inode: Inode): Awaitable<void> {
  return iputLast(task, inode);
}

function iputLast(task: Task, inode: Inode): Awaitable<void> {
  if (inode.i_count > 1) {
    inode.i_count--;
    return undefined;
  }
  const { i_sb: sb } = inode;
  const { drop_inode } = sb.s_op;
  const lock = inode.i_lock.lock(task);
  let drop: boolean;
  try {
    drop =
      drop_inode === undefined
        ? generic_drop_inode(inode)
        : invoke(task, rows.drop_inode, { inode: inode.i_lock }, drop_inode, inode);
    inode.i_count--;
    if (!drop && (sb.s_flags & SB_ACTIVE) !== 0) {
      inode_add_lru(task, inode);
      drop = false;
    } else goes(task, inode, drop ? I_FREEING : I_WILL_FREE);
  } finally {
    lock.release();
  }
  if ((inode.i_state & I_FREEING) !== 0) return evict(task, inode);
  if ((inode.i_state & I_WILL_FREE) !== 0) return writeAndEvict(task, inode);
  return sb.s_inode_lru.count > sb.s_max_unused_inodes ? trim_icache(task, sb) : undefined;
}

/** Nobody may use it again from now on. */
function goes(task: Task, inode: Inode, state: number): void {
  inode_state_assign(task, inode, inode.i_state | state);
  inode_busy(task, inode, I_FREEING);
}

/** Whether an inode without references goes at once (generic_drop_inode): it has no name, or cannot be found by its number. */
export function generic_drop_inode(inode: Inode): boolean {
  return inode.i_nlink === 0 || inode.i_sb.inodeHash.get(inode.i_ino) !== inode;
}

/** ->drop_inode of a filesystem whose inodes are nowhere but in memory: kept without a name, they could never be found (generic_delete_inode). */
export function generic_delete_inode(task: Task, inode: Inode): boolean {
  guard_write(task, GUARDED.i_state, inode.i_lock);
  return true;
}

/** The filesystem is shutting down: what is dirty is written, then it goes. */
async function writeAndEvict(task: Task, inode: Inode): Promise<void> {
  try {
    await write_inode_now(task, inode, true);
  } finally {
    inode_state_change(task, inode, I_FREEING, I_WILL_FREE);
    await evict(task, inode);
  }
}

/** Free a few of the oldest: what one more unused inode costs. Not inside a transaction, where an eviction could wait for itself. */
function trim_icache(task: Task, sb: SuperBlock): Awaitable<void> {
  if (task.journal_info !== undefined || task.atomic > 0) return undefined;
  return andThen(prune_icache_sb(task, sb, 4), nothing);
}

/** What is to become of an unused inode: one that is used, or dirty, leaves the list, and one that was used since has another turn (inode_lru_isolate). */
function inode_lru_isolate(task: Task, inode: Inode): 'removed' | 'rotate' | 'freeing' {
  using _lock = inode.i_lock.lock(task);
  const referenced = (inode.i_state & I_REFERENCED) !== 0;
  if (referenced) inode_state_assign(task, inode, inode.i_state & ~I_REFERENCED);
  // In use, or comes back when it is clean.
  if (inode.i_count > 0 || (inode.i_state & (I_DIRTY_ALL | I_SYNC | I_FREEING | I_WILL_FREE)) !== 0) return 'removed';
  if (referenced) return 'rotate';
  goes(task, inode, I_FREEING);
  return 'freeing';
}

/** Look at `nr` unused inodes, oldest first, and evict those that were not used again (prune_icache_sb). @returns how many went */
export function prune_icache_sb(task: Task, sb: SuperBlock, nr: number): Awaitable<number> {
  return sb.s_inode_lru.walk(nr, pruneInode, task);
}

function pruneInode(inode: Inode, task: Task): LruStatus {
  const status = inode_lru_isolate(task, inode);
  return status === 'freeing' ? evict(task, inode) : status;
}

/** Take an inode apart that nobody refers to and that has I_FREEING (evict). Waits until nobody writes it. */
function evict(task: Task, inode: Inode): Awaitable<void> {
  const { i_sb: sb } = inode;
  sb.s_inode_lru.remove(inode);
  inode_io_list_del(task, inode);
  if ((inode.i_state & I_SYNC) !== 0) return inode_wait_for_writeback(task, inode).then(() => evict(task, inode));
  return andThen(orElse(evictInode, evictFailed, task, inode), destroyEvicted, task, inode);
}

function evictFailed(error: unknown, task: Task, inode: Inode): never {
  evicted(task, inode);
  throw error;
}

function destroyEvicted(_evicted: void, task: Task, inode: Inode): Awaitable<void> {
  return destroy(task, inode);
}

/** It does not wait to be written any more (inode_io_list_del). Takes i_lock where it did. */
function inode_io_list_del(task: Task, inode: Inode): void {
  if (inode.i_io_list === undefined) return;
  using _lock = inode.i_lock.lock(task);
  inode.i_sb.s_wb.del(task, inode);
}

function evictInode(task: Task, inode: Inode): Awaitable<void> {
  const { evict_inode } = inode.i_sb.s_op;
  check_evict(task, inode);
  if (evict_inode !== undefined) return invoke(task, rows.evict_inode, {}, evict_inode, inode);
  const mapping = inode.mappingIfAny;
  if (mapping === undefined || mapping.nrpages === 0) return undefined;
  return truncate_inode_pages_final(task, mapping);
}

/** It is gone: its number can be used again. */
function evicted(task: Task, inode: Inode): void {
  inode_io_list_del(task, inode);
  unhash(inode);
  inode_state_change(task, inode, I_FREEING | I_CLEAR, ~0);
  inode_idle(inode, I_FREEING);
  inode.i_wait?.wake_all();
}

function destroy(task: Task, inode: Inode): Awaitable<void> {
  const { destroy_inode } = inode.i_sb.s_op;
  check_freed(task, inode);
  evicted(task, inode);
  if (destroy_inode === undefined) return freeLater(undefined, inode);
  return andThen(invoke_taskless(task, rows.destroy_inode, {}, destroy_inode, inode), freeLater, inode);
}

function freeLater(_destroyed: void, inode: Inode): void {
  const { s_op, rcu } = inode.i_sb;
  if (s_op.free_inode !== undefined) rcu.call(call_free_inode, inode, s_op.free_inode);
}

/**
 * For evict_inode, when the pages are gone (clear_inode).
 * @throws EIO where pages are left: they would be lost without a trace
 */
export function clear_inode(task: Task, inode: Inode): void {
  const left = inode.mappingIfAny?.nrpages ?? 0;
  if (left > 0) throw errno('EIO', `inode ${inode.i_ino} is cleared with ${left} pages`);
  inode_state_change(task, inode, I_FREEING | I_CLEAR);
}

/** Evict every unused inode of a superblock that goes away (evict_inodes). @returns those still in use */
export async function evict_inodes(task: Task, sb: SuperBlock): Promise<Inode[]> {
  const busy: Inode[] = [];
  for (const inode of [...sb.inodeHash.values()]) {
    if (inode.i_count > 0) {
      busy.push(inode);
      continue;
    }
    while (sb.inodeHash.get(inode.i_ino) === inode && (inode.i_state & (I_FREEING | I_WILL_FREE)) !== 0) {
      await inode_wait(task, inode, `eviction of inode ${inode.i_ino}`, I_FREEING);
    }
    if ((inode.i_state & I_FREEING) !== 0) continue;
    inode_state_change(task, inode, I_FREEING);
    inode_busy(task, inode, I_FREEING);
    const gone = evict(task, inode);
    if (gone instanceof Promise) await gone;
  }
  return busy;
}
