/**
 * Lock bits of folios and buffers (PG_locked, BH_Lock): a mutex whose holder may hand it over to I/O, so that the completion
 * unlocks it (folio_lock, lock_buffer; read_folio unlocks "via I/O completion").
 */
import type { Awaitable } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { might_sleep, WaitQueue } from '../sched/wait.js';
import type { Held } from './held.js';
import { defaultKey, type LockClassKey } from './lockdep/class.js';
import { type LockOptions, SleepLock } from './sleeplock.js';

export class BitLock<L extends 'folio' | 'bh'> extends SleepLock<L> {
  #unlocked: WaitQueue | undefined;

  /** @param key its class, by default that of all locks of the name */
  constructor(name: L, key: LockClassKey<L> = defaultKey(name, 'bit')) {
    super(key);
  }

  /** PG_locked or BH_Lock is set. */
  get locked(): boolean {
    return this.isHeld;
  }

  /** Lock it, sleeping while it is locked (folio_lock, folio_lock_killable with `interruptible`). */
  lock(task: Task, options?: LockOptions): Awaitable<Held<L, 'write'>> {
    return this.acquire(task, 'write', 0, options);
  }

  /** Lock it if that needs no wait (folio_trylock). */
  tryLock(task: Task): Held<L, 'write'> | undefined {
    return this.tryAcquire(task, 'write', 0);
  }

  /**
   * Unlock it, whoever holds it: the task that took it, or the completion to which it was handed over (folio_unlock).
   * Unlocking what is not locked is a violation.
   */
  unlock(task: Task): void {
    const holder = this.writer;
    if (holder === undefined && task.excused?.delete(this) === true) return;
    if (holder === undefined || (holder.task !== undefined && holder.task !== task)) {
      task.validator.violation(task, 'unlock-not-owner', {
        message:
          holder === undefined
            ? `${this.name} is unlocked, but was not locked`
            : `${this.name} is unlocked by a task that does not hold it`,
        rule: 'lock#released-once-by-its-owner',
        lock: this.name,
        held: [...task.held],
        ...(task.row === undefined ? {} : { row: task.row }),
      });
      return;
    }
    holder.release();
  }

  /**
   * Sleep until its holder has unlocked it, without taking it (folio_wait_locked). Somebody else may have it then: who waits here is
   * not in their queue, and must not wait for all of them.
   */
  async waitUnlocked(task: Task, options?: LockOptions): Promise<void> {
    might_sleep(task, this.name);
    if (!this.locked) return;
    this.#unlocked ??= new WaitQueue();
    await this.#unlocked.wait(task, {
      lock: this,
      what: `${this.name} to be unlocked`,
      interruptible: options?.interruptible ?? false,
      blockers: () => this.blockers(task),
    });
  }

  override release(held: Held): void {
    super.release(held);
    this.#unlocked?.wake_all();
  }
}

/** A state bit that is set by one side and waited for by another: PG_writeback. */
export class WaitBit {
  #set = false;
  #queue: WaitQueue | undefined;
  readonly what: string;

  constructor(what: string) {
    this.what = what;
  }

  get isSet(): boolean {
    return this.#set;
  }

  /** Set it; false where it was set already. */
  set(): boolean {
    if (this.#set) return false;
    this.#set = true;
    return true;
  }

  /** Clear it and wake who waits; callable in completion context. */
  clear(): void {
    if (!this.#set) throw errno('EIO', `${this.what} is cleared, but was not set`);
    this.#set = false;
    this.#queue?.wake_all();
  }

  /** Sleep until it is clear (folio_wait_writeback). At once where it is. */
  wait(task: Task, options?: LockOptions): Awaitable<void> {
    might_sleep(task, this.what);
    if (!this.#set) return undefined;
    return this.#sleep(task, options);
  }

  async #sleep(task: Task, options?: LockOptions): Promise<void> {
    while (this.#set) {
      this.#queue ??= new WaitQueue();
      await this.#queue.wait(task, { what: this.what, lock: this, interruptible: options?.interruptible ?? false });
    }
  }
}
