/** Sequence locks: rename_lock. Readers retry, writers exclude each other (include/linux/seqlock.h). */
import type { LockName } from '../contract/row.js';
import type { Task } from '../sched/task.js';
import { Held } from './held.js';
import type { LockClassKey } from './lockdep/class.js';
import { SpinLock } from './spinlock.js';

export class SeqLock<L extends LockName> extends SpinLock<L> {
  #sequence = 0;

  /** @param key its class, by default that of all locks of the name */
  constructor(name: L, key?: LockClassKey<L>) {
    super(name, key, 'seqlock');
  }

  /** Start to read without a lock (read_seqbegin): what `retry` wants to see. */
  begin(): number {
    return this.#sequence;
  }

  /** True where what was read since `begin` may be torn (read_seqretry). */
  retry(sequence: number): boolean {
    return (sequence & 1) === 1 || this.#sequence !== sequence;
  }

  /**
   * Read without a lock, again and again until nobody has written meanwhile (read_seqbegin to read_seqretry). While `body` runs the task counts as
   * reading under the lock, for rules that ask for either mode. `body` may not sleep.
   */
  read<T>(task: Task, body: () => T): T {
    for (;;) {
      const sequence = this.#sequence;
      // A writer that is at it now ends only after this task has gone on, or is this task: the kernel would spin for ever.
      this.mustBeFree(task);
      task.validator.acquire(task, this, 'read recursive', 0);
      const section = new Held<L, 'read'>(this.key, this, 'read', task, 0);
      task.atomic++;
      task.validator.acquired(task, section, false);
      let result: T;
      try {
        result = body();
      } finally {
        section.release();
      }
      if (!this.retry(sequence)) return result;
    }
  }

  /** Take it to write (write_seqlock): readers that began before will retry. */
  write(task: Task, subclass = 0, nest?: object): Held<L, 'write'> {
    const held = super.lock(task, subclass, nest);
    this.#sequence++;
    return held;
  }

  /** Take it to read with writers kept out (read_seqlock_excl). */
  readExcl(task: Task, subclass = 0): Held<L, 'write'> {
    return super.lock(task, subclass);
  }

  override release(held: Held): void {
    if (held.mode === 'read') {
      if (held.task !== undefined) held.task.atomic--;
      return;
    }
    if ((this.#sequence & 1) === 1) this.#sequence++;
    super.release(held);
  }
}
