/** POSIX and OFD record locks: ranges of bytes, split and merged, and deadlocks found before they happen (fs/locks.c, posix_lock_inode). */

import { lock_manager_operations as lm_rows } from '../../contract/lock-manager.js';
import { call } from '../../locking/context.js';
import { type Awaitable, andThen } from '../../sched/awaitable.js';
import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import type { File } from '../file.js';
import type { Inode } from '../inode.js';
import type { FileLock, LockOutcome } from './file-lock.js';
import type { FileLockContext } from './file-lock-context.js';
import {
  blockedOf,
  locks_copy_lock,
  locks_delete_block,
  locks_dispose_list,
  locks_get_lock_context,
  locks_insert_block,
  locks_move_blocks,
  locks_wake_up_blocks,
  managerLocks,
  overlaps,
  typesConflict,
} from './lock-list.js';

/** How far the search for a deadlock goes before it is called off (MAX_DEADLK_ITERATIONS). */
const MAX_DEADLK_ITERATIONS = 10;

/** Whether a lock that is held stands in the way of another (posix_locks_conflict). */
function posix_locks_conflict(held: FileLock, wanted: FileLock): boolean {
  return held.owner !== wanted.owner && typesConflict(held, wanted) && overlaps(held, wanted);
}

/** Would the owner of `wanted`, waiting for `blocker`, wait for itself (posix_locks_deadlock)? With blocked_lock_lock held. */
function posix_locks_deadlock(inode: Inode, wanted: FileLock, blocker: FileLock): boolean {
  // An open file is nobody who could be told, because any thread may drop its locks.
  if (wanted.kind === 'ofd' || wanted.forOpenFile === true) return false;
  const { byOwner } = blockedOf(inode.i_sb);
  let block = blocker;
  for (let i = 0; i <= MAX_DEADLK_ITERATIONS; i++) {
    if (block.kind === 'posix' && block.owner === wanted.owner) return true;
    let waits = byOwner.get(block.owner)?.[0]?.blocker;
    if (waits === undefined) return false;
    // In front of it others may wait: what all of them wait for counts.
    while (waits.blocker !== undefined) waits = waits.blocker;
    block = waits;
  }
  return false;
}

/** What came of a request. */
interface Attempt {
  /** The lock that stands in the way; then nothing was changed. */
  readonly blocker: FileLock | undefined;
  /** Locks that are held no more. */
  readonly gone: readonly FileLock[];
  /** A lock whose holder has gone away and that may be taken from it, by this function. */
  readonly expire?: ((task: Task) => Awaitable<void>) | undefined;
}

const NOTHING: readonly FileLock[] = [];

/** One attempt, under flc_lock: take, change or drop; or, where `request.wait` says so, join those who wait. @throws EAGAIN EDEADLK */
function posix_lock_inode(task: Task, inode: Inode, context: FileLockContext, request: FileLock): Attempt {
  const held = context.flc_lock.lock(task);
  try {
    if (request.type !== 'F_UNLCK') {
      for (const other of context.flc_posix(task)) {
        if (!posix_locks_conflict(other, request)) continue;
        const expire = expiry(task, inode, context, other);
        if (expire !== undefined) return { blocker: other, gone: NOTHING, expire };
        if (!request.wait) throw errno('EAGAIN');
        block(task, inode, context, other, request);
        return { blocker: other, gone: NOTHING };
      }
    }
    const gone = insert(task, context, request);
    const lock = request.blocked_requests && heldFor(context.flc_posix(task), request);
    if (lock !== undefined) locks_move_blocks(task, inode.i_sb, lock, request);
    locks_wake_up_blocks(task, inode.i_sb, gone);
    return { blocker: undefined, gone };
  } finally {
    held.release();
  }
}

function expiry(
  task: Task,
  inode: Inode,
  context: FileLockContext,
  lock: FileLock,
): ((task: Task) => Awaitable<void>) | undefined {
  const { lm_lock_expirable, lm_expire_lock } = lock.fl_lmops ?? {};
  if (lm_lock_expirable === undefined || lm_expire_lock === undefined) return undefined;
  const mayGo = call(task, lm_rows.lm_lock_expirable, managerLocks(inode, context), () =>
    lm_lock_expirable(task, lock),
  );
  return mayGo === true ? lm_expire_lock : undefined;
}

function block(task: Task, inode: Inode, context: FileLockContext, blocker: FileLock, request: FileLock): void {
  const { blocked_lock_lock } = blockedOf(inode.i_sb);
  const held = blocked_lock_lock.lock(task);
  const deadlock = posix_locks_deadlock(inode, request, blocker);
  held.release();
  if (deadlock) throw errno('EDEADLK');
  locks_insert_block(task, inode, context, blocker, request, posix_locks_conflict);
}

/**
 * Put a request into the list: parts of its owner's locks in its range are replaced, neighbours of its type merge with it. Others' locks
 * do not matter here. An owner's locks stay together in the list, by where they begin, in the place of its first: so the lock that is in the way of another is
 * the one that Linux names. With flc_lock held.
 * @returns the locks that are gone, or shorter, or weaker: for those who wait for them, and for their private parts
 */
function insert(task: Task, context: FileLockContext, request: FileLock): FileLock[] {
  const list = context.flc_posix(task);
  const unlock = request.type === 'F_UNLCK';
  let { start, end } = request;
  // Whole, it is neither merged nor split, and keeps its identity.
  if (heldFor(list, request) !== undefined) return [];
  const gone: FileLock[] = [];
  const others: FileLock[] = [];
  const kept: FileLock[] = [];
  let before: number | undefined;
  for (const lock of list) {
    if (!isSame(lock, request)) {
      others.push(lock);
      continue;
    }
    before ??= others.length;
    if (!unlock && lock.type === request.type) {
      if (lock.start <= end + 1 && start <= lock.end + 1) {
        start = Math.min(start, lock.start);
        end = Math.max(end, lock.end);
        gone.push(lock);
      } else kept.push(lock);
    } else if (lock.start > request.end || lock.end < request.start) kept.push(lock);
    else {
      if (lock.start < request.start) kept.push(part(task, context, lock, lock.start, request.start - 1));
      if (lock.end > request.end) kept.push(part(task, context, lock, request.end + 1, lock.end));
      gone.push(lock);
    }
  }
  if (!unlock) kept.push(part(task, context, request, start, end));
  if (gone.length === 0 && unlock) return gone;
  kept.sort((a, b) => a.start - b.start);
  const at = before ?? others.length;
  list.splice(0, list.length, ...others.slice(0, at), ...kept, ...others.slice(at));
  return gone;
}

/** The lock that has all of what was asked for. */
function heldFor(list: readonly FileLock[], request: FileLock): FileLock | undefined {
  const { type, start, end } = request;
  return list.find((lock) => isSame(lock, request) && lock.type === type && lock.start <= start && lock.end >= end);
}

function isSame(lock: FileLock, request: FileLock): boolean {
  return lock.owner === request.owner && lock.kind === request.kind;
}

function part(task: Task, context: FileLockContext, lock: FileLock, start: number, end: number): FileLock {
  const copy = locks_copy_lock(task, context, lock);
  copy.start = start;
  copy.end = end;
  return copy;
}

/**
 * Take, change or drop a POSIX or OFD lock (posix_lock_file, and posix_lock_file_wait where `request.wait`). At once where nothing stands in
 * the way. Takes flc_lock; sleeps without it.
 * @throws EAGAIN where another owner's lock is in the way and the request does not wait; EDEADLK where waiting would be for ever; EINTR by a
 * signal while waiting
 */
export function posix_lock_file(task: Task, file: File, request: FileLock): Awaitable<LockOutcome> {
  const { f_inode: inode } = file;
  const context = locks_get_lock_context(inode);
  let attempt: Attempt;
  try {
    attempt = posix_lock_inode(task, inode, context, request);
  } catch (error) {
    // A lock manager has asked again: others may wait for what it does not get.
    locks_delete_block(task, inode.i_sb, request);
    throw error;
  }
  const { blocker, gone, expire } = attempt;
  if (blocker !== undefined) return posix_lock_wait(task, inode, context, request, expire);
  const disposed = locks_dispose_list(task, context, gone);
  return disposed === undefined ? 'granted' : andThen(disposed, () => 'granted' as const);
}

async function posix_lock_wait(
  task: Task,
  inode: Inode,
  context: FileLockContext,
  request: FileLock,
  expire: Attempt['expire'],
): Promise<LockOutcome> {
  let takeAway = expire;
  let deferred = false;
  try {
    for (;;) {
      if (takeAway !== undefined) await expireLock(task, inode, context, takeAway);
      else if (request.fl_lmops?.lm_notify !== undefined) {
        deferred = true;
        return 'deferred';
      } else await sleep(task, context, request);
      const attempt = posix_lock_inode(task, inode, context, request);
      if (attempt.blocker === undefined) {
        await locks_dispose_list(task, context, attempt.gone);
        return 'granted';
      }
      takeAway = attempt.expire;
    }
  } finally {
    if (!deferred) locks_delete_block(task, inode.i_sb, request);
  }
}

async function expireLock(
  task: Task,
  inode: Inode,
  context: FileLockContext,
  expire: (task: Task) => Awaitable<void>,
): Promise<void> {
  await call(task, lm_rows.lm_expire_lock, managerLocks(inode, context), () => expire(task));
}

/** Sleep until the lock in the way is gone or changed; the caller sees to it that the request waits no more (locks_delete_block). @throws EINTR */
export async function sleep(task: Task, context: FileLockContext, request: FileLock): Promise<void> {
  while (request.blocker !== undefined && request.queue !== undefined) {
    await request.queue.wait(task, { interruptible: true, what: `${request.kind} lock`, lock: context });
  }
}

/** As posix_locks_conflict, for who only asks: with F_UNLCK an open file asks for its own locks (posix_test_locks_conflict). */
function posix_test_locks_conflict(held: FileLock, wanted: FileLock): boolean {
  if (wanted.type !== 'F_UNLCK') return posix_locks_conflict(held, wanted);
  return isSame(held, wanted) && overlaps(held, wanted);
}

/**
 * The lock that stands in the way of `wanted`, or undefined (posix_test_lock). At once, unless locks are to be taken from one who has gone away. Takes
 * flc_lock; sleeps without it.
 */
export function posix_test_lock(task: Task, file: File, wanted: FileLock): Awaitable<FileLock | undefined> {
  const { f_inode: inode } = file;
  const context = inode.i_flctx;
  if (context === undefined) return undefined;
  const held = context.flc_lock.lock(task);
  let expire: Attempt['expire'];
  let found: FileLock | undefined;
  try {
    found = context.flc_posix(task).find((lock) => posix_test_locks_conflict(lock, wanted));
    expire = found === undefined ? undefined : expiry(task, inode, context, found);
  } finally {
    held.release();
  }
  if (expire !== undefined) {
    return andThen(expireLock(task, inode, context, expire), () => posix_test_lock(task, file, wanted));
  }
  // What is told is a copy: the lock may change before it is read.
  return found === undefined ? undefined : { ...found };
}
