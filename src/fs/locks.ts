/** File locks as callers ask for them: by the filesystem's own operation where it has one, else by the lists of the VFS (fs/locks.c, here locks/). */

import { file_operations as rows } from '../contract/file.js';
import { call } from '../locking/context.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import { F_CANCELLK, F_GETLK, F_SETLK, F_SETLKW } from '../uapi/fcntl.js';
import type { File } from './file.js';
import type { FileLock, LockOutcome } from './locks/file-lock.js';
import { flock_lock_file } from './locks/flock.js';
import { lease_modify } from './locks/leases.js';
import { locks_delete_block, locks_dispose_list, OFFSET_MAX } from './locks/lock-list.js';
import { posix_lock_file, posix_test_lock } from './locks/posix-locks.js';

/**
 * The lock that stands in the way of `lock`, or undefined (vfs_test_lock). A filesystem with a lock operation of its own turns the request
 * itself into what it found, or into F_UNLCK.
 */
export function vfs_test_lock(task: Task, file: File, lock: FileLock): Awaitable<FileLock | undefined> {
  const { lock: op } = file.f_op;
  if (op === undefined) return posix_test_lock(task, file, lock);
  return andThen(
    call(task, rows.lock, {}, () => op(task, file, F_GETLK, lock)),
    () => (lock.type === 'F_UNLCK' ? undefined : lock),
  );
}

/**
 * fcntl(2) F_SETLK and, where `lock.wait`, F_SETLKW, of POSIX and OFD locks (vfs_lock_file).
 * @throws EAGAIN EDEADLK EINTR, as posix_lock_file
 */
export function vfs_lock(task: Task, file: File, lock: FileLock): Awaitable<void> {
  return andThen(vfs_lock_file(task, file, lock), () => undefined);
}

/** As vfs_lock, for lock managers, who may be told later (vfs_lock_file). @returns 'deferred' where they will be */
export function vfs_lock_file(task: Task, file: File, lock: FileLock): Awaitable<LockOutcome> {
  const { lock: op } = file.f_op;
  if (op === undefined) return posix_lock_file(task, file, lock);
  return andThen(
    call(task, rows.lock, {}, () => op(task, file, lock.wait ? F_SETLKW : F_SETLK, lock)),
    (outcome) => outcome ?? 'granted',
  );
}

/** flock(2). @throws EAGAIN EINTR, as flock_lock_file */
export function vfs_flock(task: Task, file: File, lock: FileLock): Awaitable<void> {
  const { flock: op } = file.f_op;
  if (op === undefined) return flock_lock_file(task, file, lock);
  return call(task, rows.flock, {}, () => op(task, file, lock.wait ? F_SETLKW : F_SETLK, lock));
}

/** Give up a request that a lock manager made and that was deferred (vfs_cancel_lock). */
export function vfs_cancel_lock(task: Task, file: File, lock: FileLock): Awaitable<void> {
  if (locks_delete_block(task, file.f_inode.i_sb, lock)) return undefined;
  const { lock: op } = file.f_op;
  if (op === undefined) return undefined;
  return andThen(
    call(task, rows.lock, {}, () => op(task, file, F_CANCELLK, lock)),
    () => undefined,
  );
}

function unlockAll(kind: FileLock['kind'], owner: FileLock['owner'], file: File): FileLock {
  return { kind, type: 'F_UNLCK', owner, pid: 0, file, start: 0, end: OFFSET_MAX, wait: false };
}

/** close(2) of a descriptor: all POSIX locks of that owner on the file go, whichever descriptor they were taken by (locks_remove_posix). */
export function locks_remove_posix(task: Task, file: File, owner: FileLock['owner']): Awaitable<void> {
  const context = file.f_inode.i_flctx;
  if (context === undefined || context.glance().posix.length === 0) return undefined;
  return vfs_lock(task, file, unlockAll('posix', owner, file));
}

/** A server that is gone has closed nothing: what was locked through an open file goes, whoever owns it. */
export async function locks_remove_owners(task: Task, file: File): Promise<void> {
  const locks = file.f_inode.i_flctx?.glance().posix ?? [];
  const owners = new Set(locks.filter((lock) => lock.file === file && lock.kind === 'posix').map(({ owner }) => owner));
  for (const owner of owners) await locks_remove_posix(task, file, owner);
  const flocks = file.f_inode.i_flctx?.glance().flock ?? [];
  for (const { owner } of flocks.filter((lock) => lock.file === file)) {
    await vfs_flock(task, file, unlockAll('flock', owner, file));
  }
}

/**
 * The last close of an open file: its OFD and BSD locks and its leases go (locks_remove_file). BSD locks taken by way of a server, which
 * knows their owners only, are dropped by vfs_flock with F_UNLCK.
 */
export function locks_remove_file(task: Task, file: File): Awaitable<void> {
  const context = file.f_inode.i_flctx;
  if (context === undefined) return undefined;
  const { posix, flock: flocks } = context.glance();
  const ofd = posix.some((lock) => lock.kind === 'ofd' && lock.owner === file);
  const flock = flocks.some((lock) => lock.owner === file);
  return andThen(ofd ? vfs_lock(task, file, unlockAll('ofd', file, file)) : undefined, () =>
    andThen(flock ? vfs_flock(task, file, unlockAll('flock', file, file)) : undefined, () => {
      const gone: FileLock[] = [];
      const held = context.flc_lock.lock(task);
      for (const lease of context.flc_lease(task).filter((candidate) => candidate.file === file)) {
        gone.push(...lease_modify(task, file.f_inode, context, lease, 'F_UNLCK'));
      }
      held.release();
      // Nothing may be left that points to a file which is no more.
      return locks_dispose_list(task, context, gone);
    }),
  );
}
