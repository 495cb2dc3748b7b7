/** POSIX, OFD and BSD file locks (fs/locks.c). */
import { file_operations } from '../contract/file.js';
import { call } from '../locking/context.js';
import type { Awaitable } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { WaitQueue } from '../sched/wait.js';
import type { File } from './file.js';
import type { FileLock } from './file-lock.js';
import { FileLockContext } from './file-lock-context.js';
import type { Inode } from './inode.js';

/** Locks that wait, each with the lock it waits for: for deadlock detection (blocked_hash). */
const blocked = new Set<FileLock>();

function contextOf(inode: Inode): FileLockContext {
  inode.i_flctx ??= new FileLockContext();
  return inode.i_flctx;
}

function overlap(a: FileLock, b: FileLock): boolean {
  return a.start <= b.end && b.start <= a.end;
}

function sameOwner(a: FileLock, b: FileLock): boolean {
  return a.owner === b.owner && a.kind === b.kind;
}

function conflicts(held: FileLock, wanted: FileLock): boolean {
  if (held.owner === wanted.owner) return false;
  return overlap(held, wanted) && (held.type === 'F_WRLCK' || wanted.type === 'F_WRLCK');
}

function listOf(context: FileLockContext, lock: FileLock): FileLock[] {
  return lock.kind === 'flock' ? context.flc_flock : context.flc_posix;
}

/** The lock that stands in the way, or undefined (vfs_test_lock). */
export function vfs_test_lock(task: Task, file: File, lock: FileLock): Awaitable<FileLock | undefined> {
  const context = contextOf(file.f_inode);
  using _flc = context.flc_lock.lock(task);
  return listOf(context, lock).find((held) => conflicts(held, lock));
}

/** Would waiting for `blocker` close a circle of owners (posix_locks_deadlock)? */
function deadlock(wanted: FileLock, blocker: FileLock): boolean {
  const seen = new Set<FileLock['owner']>();
  let owner = blocker.owner;
  for (;;) {
    if (owner === wanted.owner) return true;
    if (seen.has(owner)) return false;
    seen.add(owner);
    const waits = [...blocked].find((lock) => lock.owner === owner);
    if (waits?.blocker === undefined) return false;
    owner = waits.blocker.owner;
  }
}

/** Put a POSIX lock into the list: pieces of its owner's others in its range are replaced, equal neighbours merge (posix_lock_inode). */
function insertPosix(list: FileLock[], lock: FileLock): void {
  const merged: FileLock = { ...lock };
  const kept: FileLock[] = [];
  for (const held of list) {
    const adjacent = held.start <= merged.end + 1 && merged.start <= held.end + 1;
    if (!sameOwner(held, lock) || !(overlap(held, merged) || (held.type === lock.type && adjacent))) {
      kept.push(held);
    } else if (held.type === lock.type && lock.type !== 'F_UNLCK') {
      merged.start = Math.min(merged.start, held.start);
      merged.end = Math.max(merged.end, held.end);
    } else {
      if (held.start < lock.start) kept.push({ ...held, end: lock.start - 1 });
      if (held.end > lock.end) kept.push({ ...held, start: lock.end + 1 });
    }
  }
  if (lock.type !== 'F_UNLCK') kept.push(merged);
  list.splice(0, list.length, ...kept);
}

function insertFlock(list: FileLock[], lock: FileLock): void {
  const rest = list.filter((held) => held.owner !== lock.owner);
  if (lock.type !== 'F_UNLCK') rest.push({ ...lock });
  list.splice(0, list.length, ...rest);
}

/** Wake those who wait for a lock in `context`; they look again, first come first served. */
function wakeBlocked(inode: Inode): void {
  for (const lock of [...blocked]) if (lock.file?.f_inode === inode) lock.queue?.wake_all();
}

/** Take, change or drop a lock; sleeps where `lock.wait` says so. @throws EAGAIN EDEADLK EINTR */
async function set(task: Task, file: File, lock: FileLock): Promise<void> {
  const { f_inode: inode } = file;
  const context = contextOf(inode);
  for (;;) {
    const blocker = attempt(task, context, lock);
    if (blocker === undefined) break;
    if (!lock.wait) throw errno('EAGAIN');
    if (lock.kind !== 'flock' && deadlock(lock, blocker)) throw errno('EDEADLK');
    lock.blocker = blocker;
    lock.queue = new WaitQueue();
    blocked.add(lock);
    try {
      await lock.queue.wait(task, { interruptible: true, what: `${lock.kind} lock`, lock: context });
    } finally {
      blocked.delete(lock);
      lock.blocker = undefined;
      lock.queue = undefined;
    }
  }
  wakeBlocked(inode);
}

/** Under flc_lock: @returns the lock that stands in the way, or undefined when it was done. */
function attempt(task: Task, context: FileLockContext, lock: FileLock): FileLock | undefined {
  using _flc = context.flc_lock.lock(task);
  const list = listOf(context, lock);
  const blocker = lock.type === 'F_UNLCK' ? undefined : list.find((held) => conflicts(held, lock));
  if (blocker !== undefined) {
    // A BSD lock that is converted is dropped first, and may be lost (flock_lock_inode).
    if (lock.kind === 'flock') insertFlock(list, { ...lock, type: 'F_UNLCK' });
    return blocker;
  }
  if (lock.kind === 'flock') insertFlock(list, lock);
  else insertPosix(list, lock);
  return undefined;
}

/** fcntl(2) F_SETLK and F_SETLKW (vfs_lock_file). @throws EAGAIN EDEADLK EINTR EBADF */
export function vfs_lock(task: Task, file: File, lock: FileLock): Awaitable<void> {
  const { lock: op } = file.f_op;
  if (op === undefined) return set(task, file, lock);
  return call(task, file_operations.lock, {}, () => op(task, file, lock.wait ? 7 : 6, lock));
}

/** flock(2). @throws EAGAIN EINTR */
export function vfs_flock(task: Task, file: File, lock: FileLock): Awaitable<void> {
  const { flock: op } = file.f_op;
  if (op === undefined) return set(task, file, lock);
  return call(task, file_operations.flock, {}, () => op(task, file, lock.wait ? 7 : 6, lock));
}

/** close(2): the owner's POSIX locks on the file go (locks_remove_posix). */
export function locks_remove_posix(task: Task, file: File, owner: FileLock['owner']): void {
  const context = file.f_inode.i_flctx;
  if (context === undefined || context.flc_posix.length === 0) return;
  const unlock: FileLock = {
    kind: 'posix',
    type: 'F_UNLCK',
    owner,
    pid: 0,
    file,
    start: 0,
    end: Number.POSITIVE_INFINITY,
    wait: false,
  };
  attempt(task, context, unlock);
  wakeBlocked(file.f_inode);
}
