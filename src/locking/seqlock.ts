/** Sequence locks: rename_lock. Readers retry, writers exclude each other (include/linux/seqlock.h). */
import type { LockName } from '../contract/row.js';
import type { Task } from '../sched/task.js';
import type { Held } from './held.js';
import { SpinLock } from './spinlock.js';

export class SeqLock<L extends LockName> extends SpinLock<L> {
  #sequence = 0;

  /** Start to read without a lock (read_seqbegin): what `retry` wants to see. */
  begin(): number {
    return this.#sequence;
  }

  /** True where what was read since `begin` may be torn (read_seqretry). */
  retry(sequence: number): boolean {
    return (sequence & 1) === 1 || this.#sequence !== sequence;
  }

  /** Take it to write (write_seqlock): readers that began before will retry. */
  write(task: Task): Held<L, 'write'> {
    const held = super.lock(task);
    this.#sequence++;
    return held;
  }

  /** Take it to read with writers kept out (read_seqlock_excl). */
  readExcl(task: Task): Held<L, 'write'> {
    return super.lock(task);
  }

  override release(held: Held): void {
    if ((this.#sequence & 1) === 1) this.#sequence++;
    super.release(held);
  }
}
