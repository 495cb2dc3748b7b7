/**
 * Reader-writer spinlocks (include/linux/rwlock.h): readers share it. They are queued: a reader waits behind a writer that came before it, so that a task may not take again
 * what it reads already. Only in a completion it comes in whoever waits (queued_read_lock_slowpath, read_lock_is_recursive). The holder may not sleep.
 */
import type { LockName } from '../contract/row.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { Held, heldBy, type Releasable } from './held.js';
import { defaultKey, type LockClassKey } from './lockdep/class.js';

export class RwLock<L extends LockName> implements Releasable {
  key: LockClassKey<L>;
  #readers = 0;
  #writer: Held<L, 'write'> | undefined;
  /** The guards that have switched completions off. */
  readonly #irq = new Set<Held>();
  readonly #recursive: boolean;

  /**
   * @param key its class, by default that of all locks of the name
   * @param readers 'recursive': not queued, so that readers come in whoever waits, and again where they are in (CONFIG_QUEUED_RWLOCKS is off)
   */
  constructor(name: L, key: LockClassKey<L> = defaultKey(name, 'rwlock'), readers: 'queued' | 'recursive' = 'queued') {
    this.key = key;
    this.#recursive = readers === 'recursive';
  }

  get name(): L {
    return this.key.name;
  }

  get isHeld(): boolean {
    return this.#writer !== undefined || this.#readers > 0;
  }

  /**
   * Take it shared (read_lock).
   * @throws EDEADLK where it is held exclusively: its holder has slept with it, or is the task itself; and where the task reads it already and would queue. All are violations.
   */
  read(task: Task, subclass = 0): Held<L, 'read'> {
    if (this.#writer !== undefined) this.#taken(task, this.#writer.task === task);
    const recursive = this.#recursive || task.context === 'completion';
    if (!recursive && heldBy(task, this) !== undefined) this.#taken(task, true);
    const chain = task.validator.acquire(task, this, recursive ? 'read recursive' : 'read', subclass);
    return this.#grant(task, 'read', subclass, false, chain);
  }

  /** Take it exclusively (write_lock). @throws EDEADLK where it is held; a violation, as in `read` */
  write(task: Task, subclass = 0, nest?: object): Held<L, 'write'> {
    if (this.isHeld) this.#taken(task, this.#writer?.task === task || heldBy(task, this) !== undefined);
    const chain = task.validator.acquire(task, this, 'write', subclass, nest);
    return this.#grant(task, 'write', subclass, false, chain);
  }

  /** As `read` and `write`, with completions kept away because they take it too (read_lock_irqsave, write_lock_irqsave). */
  readIrq(task: Task, subclass = 0): Held<L, 'read'> {
    return this.#withoutCompletions(task, () => this.read(task, subclass));
  }

  writeIrq(task: Task, subclass = 0): Held<L, 'write'> {
    return this.#withoutCompletions(task, () => this.write(task, subclass));
  }

  /** Take it if that is possible now (read_trylock, write_trylock). */
  tryRead(task: Task, subclass = 0): Held<L, 'read'> | undefined {
    return this.#writer === undefined ? this.#grant(task, 'read', subclass, true) : undefined;
  }

  tryWrite(task: Task, subclass = 0): Held<L, 'write'> | undefined {
    return this.isHeld ? undefined : this.#grant(task, 'write', subclass, true);
  }

  release(held: Held): void {
    if (!held.exclusive) this.#readers--;
    else this.#writer = undefined;
    const { task } = held;
    if (task === undefined) return;
    task.atomic--;
    if (!this.#irq.delete(held)) return;
    if (--task.completionsOff === 0 && task.held.length > 0) task.validator.completionsOn(task);
  }

  #withoutCompletions<M extends 'read' | 'write'>(task: Task, take: () => Held<L, M>): Held<L, M> {
    task.completionsOff++;
    try {
      const held = take();
      this.#irq.add(held);
      return held;
    } catch (error) {
      task.completionsOff--;
      throw error;
    }
  }

  #grant<M extends 'read' | 'write'>(
    task: Task,
    mode: M,
    subclass: number,
    trying: boolean,
    chain?: object,
  ): Held<L, M> {
    const held = new Held<L, M>(this.key, this, mode, task, subclass);
    if (mode === 'read') this.#readers++;
    else this.#writer = held as Held<L, 'write'>;
    task.atomic++;
    task.validator.acquired(task, held, trying, chain);
    return held;
  }

  #taken(task: Task, twice: boolean): never {
    task.validator.violation(task, twice ? 'double-lock' : 'sleep-in-atomic', {
      message: twice
        ? `rwlock ${this.name} is taken by the task that holds it already`
        : `rwlock ${this.name} is held by a task that sleeps`,
      rule: twice ? 'lock#not-taken-twice' : 'spinlock#holder-may-not-sleep',
      lock: this.name,
      held: [...task.held],
    });
    throw errno('EDEADLK', this.name);
  }
}
