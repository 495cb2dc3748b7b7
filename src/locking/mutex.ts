/** Sleeping mutual exclusion: f_pos_lock, open_mutex, s_vfs_rename_sem (include/linux/mutex.h). */
import type { LockName } from '../contract/row.js';
import type { Awaitable } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import type { Held } from './held.js';
import { defaultKey, type LockClassKey } from './lockdep/class.js';
import { type LockOptions, SleepLock } from './sleeplock.js';

export class Mutex<L extends LockName> extends SleepLock<L> {
  /** @param key its class, by default that of all locks of the name */
  constructor(name: L, key: LockClassKey<L> = defaultKey(name, 'mutex')) {
    super(key);
  }

  /**
   * Take it (mutex_lock_nested). At once and without a promise where it is free.
   * @throws EINTR if interruptible and a signal arrives; EDEADLK where the task holds it already
   */
  lock(task: Task, subclass = 0, options?: LockOptions): Awaitable<Held<L, 'write'>> {
    return this.acquire(task, 'write', subclass, options);
  }

  /** Take it if that needs no wait (mutex_trylock). */
  tryLock(task: Task, subclass = 0): Held<L, 'write'> | undefined {
    return this.tryAcquire(task, 'write', subclass);
  }
}
