/** struct file_lock_context: the locks on one inode. */
import { SpinLock } from '../locking/spinlock.js';
import type { FileLock } from './file-lock.js';

export class FileLockContext {
  readonly flc_lock = new SpinLock('flc_lock');
  /** Held POSIX and OFD locks, sorted by owner and start; under flc_lock. */
  readonly flc_posix: FileLock[] = [];
  /** Held BSD locks; under flc_lock. */
  readonly flc_flock: FileLock[] = [];
  /** Leases; under flc_lock. */
  readonly flc_lease: FileLock[] = [];
}
