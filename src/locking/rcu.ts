/** Read-copy-update: sections that may not sleep, and callbacks that run when those under way have ended. */
import type { Task } from '../sched/task.js';
import { Held, type Releasable } from './held.js';
import { defaultKey } from './lockdep/class.js';

export class Rcu implements Releasable {
  readonly name = 'rcu';
  readonly key = defaultKey('rcu', 'rcu');
  #readers = 0;
  #callbacks: (() => void)[] = [];
  #calling = false;

  /** Enter a read section (rcu_read_lock); sections nest, and the task may not sleep in one. */
  read(task: Task): Held<'rcu', 'read'> {
    const chain = task.validator.acquire(task, this, 'read recursive', 0);
    const held = new Held(this.key, this, 'read', task, 0);
    this.#readers++;
    task.atomic++;
    task.validator.acquired(task, held, false, chain);
    return held;
  }

  /** Run `callback` once no section that is open now can see what it frees (call_rcu). At once where none is open. */
  call(callback: () => void): void {
    if (this.#readers === 0) this.#run(callback);
    else this.#callbacks.push(callback);
  }

  /** A callback runs: no section is open that could have seen what it frees. */
  get isCallback(): boolean {
    return this.#calling;
  }

  #run(callback: () => void): void {
    const before = this.#calling;
    this.#calling = true;
    try {
      callback();
    } finally {
      this.#calling = before;
    }
  }

  release(held: Held): void {
    if (held.task !== undefined) held.task.atomic--;
    if (--this.#readers > 0 || this.#callbacks.length === 0) return;
    const due = this.#callbacks;
    this.#callbacks = [];
    for (const callback of due) this.#run(callback);
  }
}
