/** Spinlocks: d_lock, i_lock, flc_lock. The holder may not sleep, so on one thread they are never contended. */
import type { LockName } from '../contract/row.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { Held, type Releasable } from './held.js';
import { defaultKey, type LockClassKey, type LockKind } from './lockdep/class.js';

export class SpinLock<L extends LockName> implements Releasable {
  /** Its class (lockdep_set_class). */
  key: LockClassKey<L>;
  /** What it is a part of: in which order several of one name are taken depends on it (instance_order). */
  owner: object | undefined;
  #holder: Held<L, 'write'> | undefined;
  /** The guard that has switched completions off, if it is held with them off. */
  #irq: Held<L, 'write'> | undefined;

  /** @param key its class, by default that of all locks of the name */
  constructor(name: L, key?: LockClassKey<L>, kind: LockKind = 'spinlock') {
    this.key = key ?? defaultKey(name, kind);
  }

  get name(): L {
    return this.key.name;
  }

  get isHeld(): boolean {
    return this.#holder !== undefined;
  }

  /**
   * Take it (spin_lock_nested); until the guard is released the task may not sleep.
   * @param nest a lock that the task holds and under which several of this class may be taken in any order
   * @throws EDEADLK where it is held: its holder has slept with it, or takes it twice. Both are violations.
   */
  lock(task: Task, subclass = 0, nest?: object): Held<L, 'write'> {
    this.mustBeFree(task);
    const chain = task.validator.acquire(task, this, 'write', subclass, nest);
    return this.#grant(task, subclass, false, chain);
  }

  /** Take it with completions kept away, because they take it too (spin_lock_irqsave). @throws as `lock` */
  lockIrq(task: Task, subclass = 0, nest?: object): Held<L, 'write'> {
    task.completionsOff++;
    try {
      const held = this.lock(task, subclass, nest);
      this.#irq = held;
      return held;
    } catch (error) {
      task.completionsOff--;
      throw error;
    }
  }

  /** Take it if nobody has it (spin_trylock). */
  tryLock(task: Task, subclass = 0): Held<L, 'write'> | undefined {
    return this.#holder === undefined ? this.#grant(task, subclass, true) : undefined;
  }

  release(held: Held): void {
    this.#holder = undefined;
    const { task } = held;
    if (task === undefined) return;
    task.atomic--;
    if (this.#irq !== held) return;
    this.#irq = undefined;
    if (--task.completionsOff === 0 && task.held.length > 0) task.validator.completionsOn(task);
  }

  /** @throws EDEADLK where it is held; a violation is reported */
  protected mustBeFree(task: Task): void {
    if (this.#holder !== undefined) this.#taken(task, this.#holder);
  }

  #grant(task: Task, subclass: number, trying: boolean, chain?: object): Held<L, 'write'> {
    const held = new Held<L, 'write'>(this.key, this, 'write', task, subclass);
    this.#holder = held;
    task.atomic++;
    task.validator.acquired(task, held, trying, chain);
    return held;
  }

  #taken(task: Task, holder: Held<L, 'write'>): never {
    const twice = holder.task === task;
    task.validator.violation(task, twice ? 'double-lock' : 'sleep-in-atomic', {
      message: twice
        ? `${this.key.kind} ${this.name} is taken by the task that holds it already`
        : `${this.key.kind} ${this.name} is held by a task that sleeps`,
      rule: twice ? 'lock#not-taken-twice' : 'spinlock#holder-may-not-sleep',
      lock: this.name,
      held: [...task.held],
    });
    throw errno('EDEADLK', this.name);
  }
}
