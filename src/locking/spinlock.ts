/** Spinlocks: d_lock, i_lock, flc_lock. The holder may not sleep, so on one thread they are never contended. */
import type { LockName } from '../contract/row.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { Held, type Releasable } from './held.js';

export class SpinLock<L extends LockName> implements Releasable {
  readonly name: L;
  #holder: Held<L, 'write'> | undefined;

  constructor(name: L) {
    this.name = name;
  }

  get isHeld(): boolean {
    return this.#holder !== undefined;
  }

  /**
   * Take it (spin_lock_nested); until the guard is released the task may not sleep.
   * @throws EDEADLK where it is held: its holder has slept with it, or takes it twice. Both are violations.
   */
  lock(task: Task, subclass = 0): Held<L, 'write'> {
    const taken = this.tryLock(task, subclass);
    if (taken !== undefined) return taken;
    const twice = this.#holder?.task === task;
    task.validator.violation(task, twice ? 'double-lock' : 'sleep-in-atomic', {
      message: twice
        ? `spinlock ${this.name} is taken by the task that holds it already`
        : `spinlock ${this.name} is held by a task that sleeps`,
      lock: this.name,
      held: [...task.held],
    });
    throw errno('EDEADLK', this.name);
  }

  tryLock(task: Task, subclass = 0): Held<L, 'write'> | undefined {
    if (this.#holder !== undefined) return undefined;
    const held = new Held<L, 'write'>(this.name, this, 'write', task, subclass);
    this.#holder = held;
    task.atomic++;
    task.validator.acquired(task, held);
    return held;
  }

  release(held: Held): void {
    this.#holder = undefined;
    if (held.task !== undefined) held.task.atomic--;
  }
}
