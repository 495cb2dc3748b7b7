/** What the owner of a file lock may hook into: file_lock_operations and lock_manager_operations (include/linux/filelock.h). */
import type { Awaitable } from '../../sched/awaitable.js';
import type { Task } from '../../sched/task.js';
import type { FileLock, FileLockType } from './file-lock.js';

/** Locks: the section file_lock_operations. For filesystems that keep something of their own with each lock. */
export interface file_lock_operations {
  /** `copy` was made of `lock`, to be held in its place or beside it. With flc_lock held; may not block. */
  fl_copy_lock?(task: Task, copy: FileLock, lock: FileLock): void;
  /** The lock is gone. Of a POSIX or BSD lock without flc_lock, of a lease with it. */
  fl_release_private?(task: Task, lock: FileLock): Awaitable<void>;
}

/** Locks: the section lock_manager_operations. */
export interface lock_manager_operations {
  /** What `lock` waited for may be free now: ask again. With blocked_lock_lock held; may not block. */
  lm_notify?(task: Task, lock: FileLock): void;
  /** A lock asked for asynchronously was granted (`error` undefined) or refused. */
  lm_grant?(task: Task, lock: FileLock, error: Error | undefined): void;
  /** Somebody wants what the lease excludes: ask its holder to give it up. With flc_lock held. @returns true where the lease goes at once */
  lm_break?(task: Task, lease: FileLock): boolean;
  /** The lease was recorded, or changed: its holder prepares to be told (lm_setup, which has no row in the document). With flc_lock held; may not block. */
  lm_setup?(task: Task, lease: FileLock): void;
  /** Change a lease to `type`, F_UNLCK removes it. With flc_lock held. Absent: as lease_modify. */
  lm_change?(task: Task, lease: FileLock, type: FileLockType): void;
  /** The one who breaks is the holder itself. With flc_lock held. */
  lm_breaker_owns_lease?(task: Task, lease: FileLock): boolean;
  /** The lock may be taken from a holder that has gone away. With flc_lock held. */
  lm_lock_expirable?(task: Task, lock: FileLock): boolean;
  /** Take the locks of holders that have gone away from them. Without flc_lock. */
  lm_expire_lock?(task: Task): Awaitable<void>;
}
