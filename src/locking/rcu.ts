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

  /** Run `callback` with what it is given once no section that is open now can see what it frees (call_rcu). At once where none is open. */
  call<A, B>(callback: (a: A, b: B) => void, a: A, b: B): void {
    if (this.#readers === 0) this.#run(callback, a, b);
    else this.#later(callback, a, b);
  }

  #later<A, B>(callback: (a: A, b: B) => void, a: A, b: B): void {
    this.#callbacks.push(() => callback(a, b));
  }

  /** A callback runs: no section is open that could have seen what it frees. */
  get isCallback(): boolean {
    return this.#calling;
  }

  #run<A, B>(callback: (a: A, b: B) => void, a: A, b: B): void {
    const before = this.#calling;
    this.#calling = true;
    try {
      callback(a, b);
    } finally {
      this.#calling = before;
    }
  }

  release(held: Held): void {
    if (held.task !== undefined) held.task.atomic--;
    if (--this.#readers > 0 || this.#callbacks.length === 0) return;
    const due = this.#callbacks;
    this.#callbacks = [];
    for (const callback of due) this.#run(callback, undefined, undefined);
  }
}
