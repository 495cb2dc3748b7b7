/** BSD locks: flock(2), on whole files (fs/locks.c flock_lock_inode). */
import { type Awaitable, andThen } from '../../sched/awaitable.js';
import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import type { File } from '../file.js';
import type { Inode } from '../inode.js';
import type { FileLock } from './file-lock.js';
import type { FileLockContext } from './file-lock-context.js';
import {
  locks_copy_lock,
  locks_delete_block,
  locks_dispose_list,
  locks_get_lock_context,
  locks_insert_block,
  locks_move_blocks,
  locks_wake_up_blocks,
  typesConflict,
} from './lock-list.js';
import { sleep } from './posix-locks.js';

interface Attempt {
  readonly blocked: boolean;
  readonly gone: readonly FileLock[];
}

/** Whether a lock that is held stands in the way of another (flock_locks_conflict). */
function flock_locks_conflict(held: FileLock, wanted: FileLock): boolean {
  return held.owner !== wanted.owner && typesConflict(held, wanted);
}

/**
 * One attempt, under flc_lock. A lock that is converted is dropped first, as flock(2) says: others may be faster, and without waiting the
 * old one is lost as well.
 * @throws EAGAIN, after the old lock was dropped
 */
function flock_lock_inode(task: Task, inode: Inode, context: FileLockContext, request: FileLock): Attempt {
  const held = context.flc_lock.lock(task);
  try {
    const list = context.flc_flock(task);
    const at = list.findIndex((lock) => lock.owner === request.owner);
    const old = list[at];
    if (old !== undefined && old.type === request.type) return { blocked: false, gone: [] };
    const gone = old === undefined ? [] : [old];
    if (old !== undefined) {
      list.splice(at, 1);
      locks_wake_up_blocks(task, inode.i_sb, gone);
    }
    if (request.type === 'F_UNLCK') return { blocked: false, gone };
    const blocker = list.find((lock) => flock_locks_conflict(lock, request));
    if (blocker === undefined) {
      const lock = locks_copy_lock(task, context, request);
      list.push(lock);
      locks_move_blocks(task, inode.i_sb, lock, request);
      return { blocked: false, gone };
    }
    if (!request.wait) return { blocked: true, gone };
    locks_insert_block(task, inode, context, blocker, request, flock_locks_conflict);
    return { blocked: true, gone };
  } finally {
    held.release();
  }
}

/**
 * Take, convert or drop a BSD lock (flock_lock_inode_wait). At once where nothing stands in the way. Takes flc_lock; sleeps without it.
 * @throws EAGAIN where another's lock is in the way and the request does not wait; EINTR by a signal while waiting
 */
export function flock_lock_file(task: Task, file: File, request: FileLock): Awaitable<void> {
  const { f_inode: inode } = file;
  const context = locks_get_lock_context(inode);
  const { blocked, gone } = flock_lock_inode(task, inode, context, request);
  return andThen(locks_dispose_list(task, context, gone), () => {
    if (!blocked) return undefined;
    if (!request.wait) throw errno('EAGAIN');
    return flock_wait(task, inode, context, request);
  });
}

async function flock_wait(task: Task, inode: Inode, context: FileLockContext, request: FileLock): Promise<void> {
  try {
    for (;;) {
      await sleep(task, context, request);
      const { blocked, gone } = flock_lock_inode(task, inode, context, request);
      await locks_dispose_list(task, context, gone);
      if (!blocked) return;
    }
  } finally {
    locks_delete_block(task, inode.i_sb, request);
  }
}
