/** struct file_lock: one POSIX, OFD, BSD lock or lease, held or asked for. */

import type { WaitQueue } from '../../sched/wait.js';
import type { File } from '../file.js';
import type { file_lock_operations, lock_manager_operations } from './file-lock-operations.js';

export type FileLockKind = 'posix' | 'ofd' | 'flock' | 'lease';
export type FileLockType = 'F_RDLCK' | 'F_WRLCK' | 'F_UNLCK';

/** 'deferred': a lock manager asked, and is told when it has the lock (lm_grant) or may ask again (lm_notify) (FILE_LOCK_DEFERRED). */
export type LockOutcome = 'granted' | 'deferred';

export interface FileLock {
  kind: FileLockKind;
  type: FileLockType;
  /** Who owns it: conflicts are between different owners. A process's lock owner for POSIX, the open file for OFD and BSD. */
  owner: bigint | object;
  /** The process id to tell others. */
  pid: number;
  file: File | undefined;
  /** First byte. */
  start: number;
  /** Last byte, inclusive; Infinity for the end of any file (OFFSET_MAX). */
  end: number;
  /** Sleep until it can be had (F_SETLKW, no LOCK_NB). */
  wait: boolean;
  /** One of kind 'posix' that a server asks for by its owner, who is known to be an open file (FL_OFDLCK). */
  forOpenFile?: boolean;
  /** The lock that this one waits for (fl_blocker). */
  blocker?: FileLock | undefined;
  /** Where its task sleeps. */
  queue?: WaitQueue | undefined;
  /** The requests that wait for this lock, first come first (fl_blocked_requests); under blocked_lock_lock. */
  blocked_requests?: FileLock[];
  /** Of the filesystem that keeps something of its own with the lock. */
  fl_ops?: file_lock_operations;
  /** Of the lock manager, or the holder of the lease. */
  fl_lmops?: lock_manager_operations;
  /** What fl_ops keep here (fl_u). */
  fl_private?: object | undefined;
  /** A lease of a server's client, which it is told of more by (FL_DELEG). */
  deleg?: boolean;
  /** A lease that is to be given up: when its holder loses it, monotonic milliseconds (FL_UNLOCK_PENDING, fl_break_time). */
  fl_break_time?: number;
  /** A lease that is to become one for reading: when it does (FL_DOWNGRADE_PENDING, fl_downgrade_time). */
  fl_downgrade_time?: number;
}
