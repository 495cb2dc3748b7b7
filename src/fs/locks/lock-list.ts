/** Lists of file locks and of those who wait for them: what POSIX locks, BSD locks and leases share (fs/locks.c). */
import { file_lock_operations as fl_rows } from '../../contract/file-lock.js';
import { lock_manager_operations as lm_rows } from '../../contract/lock-manager.js';
import { call } from '../../locking/context.js';
import { GUARDED, guard_read, guard_write } from '../../locking/guarded.js';
import { SpinLock } from '../../locking/spinlock.js';
import type { Awaitable } from '../../sched/awaitable.js';
import type { Task } from '../../sched/task.js';
import { WaitQueue } from '../../sched/wait.js';
import type { Inode } from '../inode.js';
import type { SuperBlock } from '../super-block.js';
import type { FileLock } from './file-lock.js';
import { FileLockContext } from './file-lock-context.js';

/** The last byte of the largest file, as lock ranges say it. */
export const OFFSET_MAX = Number.POSITIVE_INFINITY;

/** The locks of an inode, made at the first (locks_get_lock_context). */
export function locks_get_lock_context(inode: Inode): FileLockContext {
  inode.i_flctx ??= new FileLockContext();
  return inode.i_flctx;
}

/**
 * The requests of one filesystem that wait, by owner (blocked_hash): for the search for deadlocks. In the kernel there is one for the
 * machine; owners as a server sees them mean something within one mount only.
 */
class BlockedRequests {
  /** Guards the hash, and the lists of waiters of every lock. Inside flc_lock. */
  readonly blocked_lock_lock = new SpinLock('blocked_lock_lock');
  readonly byOwner = new Map<FileLock['owner'], FileLock[]>();
}

const blocked = new WeakMap<SuperBlock, BlockedRequests>();

/** Who waits for a file lock on a superblock, under its blocked_lock_lock. */
export function blockedOf(sb: SuperBlock): BlockedRequests {
  let found = blocked.get(sb);
  if (found === undefined) {
    found = new BlockedRequests();
    blocked.set(sb, found);
  }
  return found;
}

/** Of which locks the rows of lock managers speak. */
export function managerLocks(
  inode: Inode,
  context: FileLockContext,
): { readonly inode: FileLockContext['flc_lock']; readonly locks: BlockedRequests['blocked_lock_lock'] } {
  return { inode: context.flc_lock, locks: blockedOf(inode.i_sb).blocked_lock_lock };
}

/** Whether two ranges have a byte in common (locks_overlap). */
export function overlaps(a: FileLock, b: FileLock): boolean {
  return a.start <= b.end && b.start <= a.end;
}

/** Whether one of them excludes the other: unless both are shared (locks_conflict). */
export function typesConflict(a: FileLock, b: FileLock): boolean {
  return a.type === 'F_WRLCK' || b.type === 'F_WRLCK';
}

/**
 * A copy of `lock`, to be held in its place or beside it (locks_copy_lock). With flc_lock held. Nobody waits for the copy.
 */
export function locks_copy_lock(task: Task, context: FileLockContext, lock: FileLock): FileLock {
  const copy: FileLock = { ...lock, wait: false };
  delete copy.blocked_requests;
  delete copy.queue;
  delete copy.blocker;
  const { fl_ops: ops } = lock;
  const { fl_copy_lock } = ops ?? {};
  if (fl_copy_lock !== undefined) {
    call(task, fl_rows.fl_copy_lock, { inode: context.flc_lock }, () => fl_copy_lock(task, copy, lock));
  }
  return copy;
}

/**
 * Locks that are held no more: their owners release what they keep with them (locks_dispose_list). Without flc_lock.
 */
export function locks_dispose_list(task: Task, context: FileLockContext, gone: readonly FileLock[]): Awaitable<void> {
  let waiting: Promise<void> | undefined;
  for (const lock of gone) {
    const release = lock.fl_ops?.fl_release_private;
    if (release === undefined) continue;
    const participants = { 'inode/lock': context.flc_lock };
    const one = (): Awaitable<void> => call(task, fl_rows.fl_release_private, participants, () => release(task, lock));
    if (waiting !== undefined) waiting = waiting.then(one);
    else {
      const done = one();
      if (done instanceof Promise) waiting = done;
    }
  }
  return waiting;
}

/**
 * `request` waits for `blocker` from now on (locks_insert_block), or for one that waits for that and would be in its way, too: so that of many who want the same only the
 * first is woken. With flc_lock of the blocker's inode held; takes blocked_lock_lock.
 * @param conflict whether one lock, if it were held, would stand in the way of another
 */
export function locks_insert_block(
  task: Task,
  inode: Inode,
  context: FileLockContext,
  blocker: FileLock,
  request: FileLock,
  conflict: (held: FileLock, wanted: FileLock) => boolean,
): void {
  guard_read(task, GUARDED.flc_lists, context.flc_lock);
  const requests = blockedOf(inode.i_sb);
  const held = requests.blocked_lock_lock.lock(task);
  guard_write(task, GUARDED.blocked_locks, requests.blocked_lock_lock);
  let before = blocker;
  for (let next: FileLock | undefined = blocker; next !== undefined; ) {
    before = next;
    next = before.blocked_requests?.find((waiter) => conflict(waiter, request));
  }
  // Those who wait for it may not be in the way of, nor blocked by, what it waits for now.
  wakeWaiters(task, requests, request);
  request.blocker = before;
  request.queue ??= new WaitQueue();
  before.blocked_requests ??= [];
  before.blocked_requests.push(request);
  // Where deadlocks are searched for: who waits for an open file's lock, or a BSD lock, does not count.
  if (before.kind === 'posix' && before.forOpenFile !== true) {
    const same = requests.byOwner.get(request.owner);
    if (same === undefined) requests.byOwner.set(request.owner, [request]);
    else same.push(request);
  }
  held.release();
}

/** Those who wait for `request` wait for `lock`, which it has become (locks_move_blocks). With flc_lock held; takes blocked_lock_lock. */
export function locks_move_blocks(task: Task, sb: SuperBlock, lock: FileLock, request: FileLock): void {
  const waiters = request.blocked_requests;
  if (waiters === undefined || lock === request) return;
  const requests = blockedOf(sb);
  const held = requests.blocked_lock_lock.lock(task);
  guard_write(task, GUARDED.blocked_locks, requests.blocked_lock_lock);
  delete request.blocked_requests;
  for (const waiter of waiters) waiter.blocker = lock;
  lock.blocked_requests = [...(lock.blocked_requests ?? []), ...waiters];
  held.release();
}

/** `request` waits no more, whether or not it did, and who waits for it asks again (locks_delete_block). Takes blocked_lock_lock. @returns whether it did */
export function locks_delete_block(task: Task, sb: SuperBlock, request: FileLock): boolean {
  const { blocker } = request;
  if (blocker === undefined && request.blocked_requests === undefined) return false;
  const requests = blockedOf(sb);
  const held = requests.blocked_lock_lock.lock(task);
  guard_write(task, GUARDED.blocked_locks, requests.blocked_lock_lock);
  wakeWaiters(task, requests, request);
  if (blocker !== undefined) {
    const waiters = blocker.blocked_requests;
    const at = waiters?.indexOf(request) ?? -1;
    if (at >= 0) waiters?.splice(at, 1);
    unhash(requests, request);
  }
  held.release();
  return blocker !== undefined;
}

function unhash(requests: BlockedRequests, request: FileLock): void {
  request.blocker = undefined;
  const same = requests.byOwner.get(request.owner);
  const at = same?.indexOf(request) ?? -1;
  if (same === undefined || at < 0) return;
  if (same.length === 1) requests.byOwner.delete(request.owner);
  else same.splice(at, 1);
}

/**
 * Whoever waits for one of these locks asks again, first come first served (locks_wake_up_blocks). Takes blocked_lock_lock.
 */
export function locks_wake_up_blocks(task: Task, sb: SuperBlock, locks: readonly FileLock[]): void {
  if (!locks.some(({ blocked_requests: waiters }) => waiters !== undefined && waiters.length > 0)) return;
  const requests = blockedOf(sb);
  const held = requests.blocked_lock_lock.lock(task);
  for (const lock of locks) wakeWaiters(task, requests, lock);
  held.release();
}

/** With blocked_lock_lock held (__locks_wake_up_blocks). */
function wakeWaiters(task: Task, requests: BlockedRequests, lock: FileLock): void {
  const waiters = lock.blocked_requests;
  if (waiters === undefined) return;
  delete lock.blocked_requests;
  guard_write(task, GUARDED.blocked_locks, requests.blocked_lock_lock);
  for (const waiter of waiters) {
    unhash(requests, waiter);
    const notify = waiter.fl_lmops?.lm_notify;
    if (notify === undefined) waiter.queue?.wake_all();
    else {
      call(task, lm_rows.lm_notify, { locks: requests.blocked_lock_lock }, () => notify(task, waiter));
      // Whether it asks again nobody knows.
      wakeWaiters(task, requests, waiter);
    }
  }
}
