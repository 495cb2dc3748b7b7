/**
 * The core of every lock that sleeps: shared or exclusive, first come first served. Nobody overtakes a waiter, so neither
 * readers nor writers starve. A free lock is taken at once, without a promise.
 */
import type { LockName } from '../contract/row.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { might_sleep, type WaitOptions, WaitQueue } from '../sched/wait.js';
import { Held, type HeldMode, heldBy, type Releasable } from './held.js';
import type { LockClassKey } from './lockdep/class.js';

/** A task in the queue of a lock. */
interface Ticket {
  readonly task: Task;
  readonly mode: HeldMode;
  readonly subclass: number;
  readonly queue: WaitQueue;
  granted: Held | undefined;
}

export interface LockOptions {
  /** A signal ends the wait with EINTR (down_read_interruptible and the like). */
  readonly interruptible?: boolean;
  /** A fatal signal does, and no other (down_read_killable and the like). */
  readonly killable?: boolean;
  /** A lock that the task holds and under which several of this class may be taken in any order (mutex_lock_nest_lock). */
  readonly nest?: object;
}

/**
 * The guards of all locks that are held exclusively, and the places that are free. A lock knows the place of its guard only: a pointer from each lock, which is old,
 * to a guard, which is young, would have to be recorded at each acquisition, and looked at in each collection, as often as there are folios.
 */
const guards: (Held | undefined)[] = [];
const free: number[] = [];

/** Where a guard is kept. */
function keep(held: Held): number {
  const place = free.pop() ?? guards.length;
  guards[place] = held;
  return place;
}

function drop(place: number): void {
  guards[place] = undefined;
  free.push(place);
}

const NOBODY = -1;

export abstract class SleepLock<L extends LockName> implements Releasable {
  /** Its class (lockdep_set_class). */
  key: LockClassKey<L>;
  /** What it is a part of: in which order several of one name are taken depends on it (instance_order). */
  owner: object | undefined;
  #readers = 0;
  /** The place of the exclusive holder's guard. */
  #writer = NOBODY;
  #tickets: Ticket[] | undefined;

  constructor(key: LockClassKey<L>) {
    this.key = key;
  }

  get name(): L {
    return this.key.name;
  }

  /** True where anybody holds it. */
  get isHeld(): boolean {
    return this.#writer !== NOBODY || this.#readers > 0;
  }

  /** True where tasks are waiting (rwsem_is_contended). */
  get isContended(): boolean {
    return this.#tickets !== undefined && this.#tickets.length > 0;
  }

  /** The exclusive holder's guard, or undefined. */
  get writer(): Held | undefined {
    return this.#writer === NOBODY ? undefined : guards[this.#writer];
  }

  /** The tasks that wait, in the order in which they will get it. */
  waiting(): Task[] {
    return this.#tickets?.map((ticket) => ticket.task) ?? [];
  }

  /** Whom a waiting task waits for: the holders, or who wants to write in front of a reader that could share it with them. */
  blockers(task: Task): Task[] {
    const holder = this.writer?.task;
    if (holder !== undefined) return [holder];
    const tickets = this.#tickets ?? [];
    const own = tickets.findLastIndex((ticket) => ticket.task === task);
    // Those before it wait for the same, and for nothing else: it is enough to know why it does not overtake them.
    if (tickets[own]?.mode === 'read') {
      for (let i = own - 1; i >= 0; i--) {
        const before = tickets[i];
        if (before?.mode === 'write') return [before.task];
      }
    }
    const found: Task[] = [];
    // Readers are not listed here, but who waits in a circle waits: of those asleep the ones that hold it.
    if (this.#readers > 0) for (const asleep of task.validator.asleep()) if (heldBy(asleep, this)) found.push(asleep);
    return found;
  }

  protected tryAcquire<M extends HeldMode>(task: Task, mode: M, subclass: number): Held<L, M> | undefined {
    if (this.isContended || !this.#free(mode)) return undefined;
    return this.#grant(task, mode, subclass, true);
  }

  protected acquire<M extends HeldMode>(
    task: Task,
    mode: M,
    subclass: number,
    options?: LockOptions,
  ): Held<L, M> | Promise<Held<L, M>> {
    if (task.atomic > 0) might_sleep(task, this.name);
    if (task.held.length > 0 && heldBy(task, this) !== undefined) this.#recursion(task, mode);
    const chain = task.validator.acquire(task, this, mode, subclass, options?.nest);
    if (this.isContended || !this.#free(mode)) return this.#sleep(task, mode, subclass, options);
    return this.#grant(task, mode, subclass, false, chain);
  }

  release(held: Held): void {
    if (!held.exclusive) this.#readers--;
    else this.#vacate();
    if (this.isContended) this.#handOut();
  }

  /**
   * Exclusive to shared, in one step: nobody gets it exclusively in between, waiting readers at the head join.
   * @param former a guard that was given back before, which becomes the shared one
   */
  protected exchange(held: Held<L, 'write'>, task: Task, former?: Held<L, 'read'>): Held<L, 'read'> {
    held.retire();
    this.#vacate();
    const shared = former ?? this.#grant(task, 'read', held.subclass, true);
    if (former !== undefined) {
      this.#readers++;
      former.resume(task);
    }
    this.#handOut();
    return shared;
  }

  #vacate(): void {
    if (this.#writer !== NOBODY) drop(this.#writer);
    this.#writer = NOBODY;
  }

  #free(mode: HeldMode): boolean {
    return this.#writer === NOBODY && (mode === 'read' || this.#readers === 0);
  }

  #grant<M extends HeldMode>(task: Task, mode: M, subclass: number, trying: boolean, chain?: object): Held<L, M> {
    const held = new Held<L, M>(this.key, this, mode, task, subclass);
    if (mode === 'read') this.#readers++;
    else this.#writer = keep(held);
    task.validator.acquired(task, held, trying, chain);
    return held;
  }

  async #sleep<M extends HeldMode>(task: Task, mode: M, subclass: number, options?: LockOptions): Promise<Held<L, M>> {
    const ticket: Ticket = { task, mode, subclass, queue: new WaitQueue(), granted: undefined };
    this.#tickets ??= [];
    this.#tickets.push(ticket);
    const wait: WaitOptions = {
      lock: this,
      what: `${this.name} (${mode})`,
      interruptible: options?.interruptible ?? false,
      killable: options?.killable ?? false,
      blockers: () => this.blockers(task),
    };
    const start = task.sched.monotonic();
    try {
      await ticket.queue.wait(task, wait);
      task.validator.contended(task, this, mode, subclass, task.sched.monotonic() - start);
    } catch (error) {
      const at = this.#tickets.indexOf(ticket);
      if (at >= 0) this.#tickets.splice(at, 1);
      this.#handOut();
      throw error;
    }
    const { granted } = ticket;
    if (granted === undefined) throw new Error(`${this.name}: woken without the lock`);
    return granted as Held<L, M>;
  }

  /** Give the lock to those at the head of the queue who can have it now. */
  #handOut(): void {
    const tickets = this.#tickets;
    if (tickets === undefined) return;
    for (;;) {
      const head = tickets[0];
      if (head === undefined || !this.#free(head.mode)) return;
      tickets.shift();
      head.granted = this.#grant(head.task, head.mode, head.subclass, false);
      head.queue.wake_one();
    }
  }

  /** A task that takes a lock again which it holds would wait for itself for ever: reported, and refused at every level. */
  #recursion(task: Task, mode: HeldMode): never {
    const row = task.row;
    task.validator.violation(task, 'double-lock', {
      message: `${this.name} is wanted for ${mode} by the task that holds it already`,
      rule: 'lock#not-taken-twice',
      lock: this.name,
      held: [...task.held],
      ...(row === undefined ? {} : { row }),
    });
    throw errno('EDEADLK', this.name);
  }
}
