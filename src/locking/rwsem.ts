/** Read-write semaphores: i_rwsem, invalidate_lock, s_umount, mmap_lock (include/linux/rwsem.h). */
import type { LockName } from '../contract/row.js';
import type { Awaitable } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import type { Held } from './held.js';
import { defaultKey, type LockClassKey } from './lockdep/class.js';
import { type LockOptions, SleepLock } from './sleeplock.js';

export class RwSem<L extends LockName> extends SleepLock<L> {
  /** @param key its class, by default that of all locks of the name */
  constructor(name: L, key: LockClassKey<L> = defaultKey(name, 'rwsem')) {
    super(key);
  }

  /**
   * Take it shared (down_read). At once and without a promise where it is free.
   * @param subclass the nesting level, for instances of one class that nest (I_MUTEX_PARENT …)
   * @throws EINTR if interruptible and a signal arrives; EDEADLK where the task holds it already
   */
  read(task: Task, subclass = 0, options?: LockOptions): Awaitable<Held<L, 'read'>> {
    return this.acquire(task, 'read', subclass, options);
  }

  /** Take it exclusive (down_write). Otherwise as `read`. */
  write(task: Task, subclass = 0, options?: LockOptions): Awaitable<Held<L, 'write'>> {
    return this.acquire(task, 'write', subclass, options);
  }

  /** Take it shared if that needs no wait (down_read_trylock). */
  tryRead(task: Task, subclass = 0): Held<L, 'read'> | undefined {
    return this.tryAcquire(task, 'read', subclass);
  }

  /** Take it exclusive if that needs no wait (down_write_trylock). */
  tryWrite(task: Task, subclass = 0): Held<L, 'write'> | undefined {
    return this.tryAcquire(task, 'write', subclass);
  }

  /** Turn exclusive into shared without letting a writer in between (downgrade_write). The old guard is spent. */
  downgrade(held: Held<L, 'write'>): Held<L, 'read'> {
    const { task } = held;
    if (task === undefined) throw new Error(`${this.name}: downgrade of a lock that was handed over`);
    return this.exchange(held, task);
  }

  /**
   * Run `body` with it held exclusively, where it is held shared: it is given up, and had again shared under the same guard afterwards. In between others may have changed what it guards.
   * @param held nothing that its task has taken after it is still held
   * @throws what `body` throws
   */
  async exclusively<T>(held: Held<L, 'read'>, body: () => Awaitable<T>): Promise<T> {
    const { task } = held;
    if (task === undefined || task.held.at(-1) !== held) throw new Error(`${this.name}: it is not what was taken last`);
    held.release();
    const alone = await this.write(task, held.subclass);
    try {
      return await body();
    } finally {
      this.exchange(alone, task, held);
    }
  }
}
