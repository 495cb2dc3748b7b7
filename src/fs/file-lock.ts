/** struct file_lock: one POSIX, OFD, BSD lock or lease, held or asked for. */

import type { WaitQueue } from '../sched/wait.js';
import type { File } from './file.js';

export type FileLockKind = 'posix' | 'ofd' | 'flock' | 'lease';
export type FileLockType = 'F_RDLCK' | 'F_WRLCK' | 'F_UNLCK';

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
  /** The lock that this one waits for (fl_blocker). */
  blocker?: FileLock | undefined;
  /** Where its task sleeps. */
  queue?: WaitQueue | undefined;
}
