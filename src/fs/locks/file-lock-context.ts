/** struct file_lock_context: the locks on one inode. */
import { GUARDED, guard_write } from '../../locking/guarded.js';
import { SpinLock } from '../../locking/spinlock.js';
import type { Task } from '../../sched/task.js';
import type { FileLock } from './file-lock.js';

export class FileLockContext {
  readonly flc_lock = new SpinLock('flc_lock');
  readonly #posix: FileLock[] = [];
  readonly #flock: FileLock[] = [];
  readonly #lease: FileLock[] = [];

  /** Held POSIX and OFD locks, sorted by owner and start. flc_lock is held. */
  flc_posix(task: Task): FileLock[] {
    return this.#held(task, this.#posix);
  }

  /** Held BSD locks. flc_lock is held. */
  flc_flock(task: Task): FileLock[] {
    return this.#held(task, this.#flock);
  }

  /** Leases. flc_lock is held. */
  flc_lease(task: Task): FileLock[] {
    return this.#held(task, this.#lease);
  }

  /** What is there at the moment, without the lock: good enough to see that there is nothing (list_empty_careful). */
  glance(): {
    readonly posix: readonly FileLock[];
    readonly flock: readonly FileLock[];
    readonly lease: readonly FileLock[];
  } {
    return { posix: this.#posix, flock: this.#flock, lease: this.#lease };
  }

  /** Whether there is a lease, without the lock. */
  get hasLease(): boolean {
    return this.#lease.length > 0;
  }

  /** Whether there is a lease by that open file, without the lock. */
  hasLeaseOf(file: FileLock['file']): boolean {
    return this.#lease.some((lease) => lease.file === file);
  }

  #held(task: Task, list: FileLock[]): FileLock[] {
    guard_write(task, GUARDED.flc_lists, this.flc_lock);
    return list;
  }
}
