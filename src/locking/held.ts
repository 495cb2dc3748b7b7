/** The guard of a lock: proof that it is held, the record of it on the task, and the way to release it. */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { LockName, Row } from '../contract/row.js';
import type { Task } from '../sched/task.js';
import type { HeldLock, LockWatch } from '../sched/validator.js';
import type { LockClassKey } from './lockdep/class.js';

export type HeldMode = 'read' | 'write';

/** For whom the code runs that runs now, where the deep checks are on: the task of a process's system call. */
const current = new AsyncLocalStorage<Task>();
/** Those of whom that is known. Others may be begun by one of them and go on behind it: a flusher, a journal. */
const known = new WeakSet<Task>();

/** Run `body` as `task` (current): with the deep checks on, what it gives back without having it is told from what its owner does. */
export function run_as<T>(task: Task, body: () => T): T {
  if (!task.validator.stacks) return body();
  known.add(task);
  return current.run(task, body);
}

/** What a guard calls to give its lock back. */
export interface Releasable {
  release(held: Held): void;
}

export class Held<L extends LockName = LockName, M extends HeldMode = HeldMode> implements HeldLock, Disposable {
  /** The class of the lock as it was taken. */
  readonly key: LockClassKey<L>;
  readonly lock: Releasable;
  readonly exclusive: boolean;
  readonly subclass: number;
  seq: number;
  readonly takenIn: Row | undefined;
  link = 0;
  before: object | undefined;
  readonly #trace: Error | undefined;
  /** When it was taken, for lock_stat: milliseconds, 0 where nobody measures. */
  since = 0;
  /** The owner; undefined once the lock was handed over to I/O, whose completion releases it. */
  task: Task | undefined;
  released = false;

  constructor(key: LockClassKey<L>, lock: Releasable, mode: M, task: Task, subclass: number) {
    this.key = key;
    this.lock = lock;
    this.exclusive = mode === 'write';
    this.subclass = subclass;
    this.task = task;
    this.seq = ++task.taken;
    this.takenIn = task.row;
    this.#trace = task.validator.stacks ? stackHere() : undefined;
    task.held.push(this);
    if (task.watch !== undefined) seen(task.watch, lock, mode);
  }

  get mode(): M {
    return (this.exclusive ? 'write' : 'read') as M;
  }

  get name(): L {
    return this.key.name;
  }

  /** Where it was taken, where the deep checks are on. */
  get stack(): string | undefined {
    return this.#trace?.stack;
  }

  /**
   * Give the lock back. A second release is a violation (unlock by a non-owner), and so is one by another task than its owner: it is known to be one where the owner sleeps, and with the deep checks on.
   * @throws with enforce=error EIO; in the second case it is still held then
   */
  release(): void {
    if (this.released) {
      this.#again();
      return;
    }
    const { task } = this;
    if (task !== undefined && (task.waitingFor !== undefined || (task.validator.stacks && isAnother(task)))) {
      this.#byAnother(task);
    }
    this.released = true;
    this.forget();
    this.lock.release(this);
  }

  /** It was given back already. */
  #again(): void {
    const { task } = this;
    if (task === undefined) return;
    if (task.excused?.delete(this.lock) === true) {
      // Somebody has given it back, which was reported, and perhaps taken it again: that guard is the one to release.
      (heldBy(task, this.lock) as Held | undefined)?.release();
      return;
    }
    // Somebody else has, or the end of its task.
    if (task.excused?.has(this) === true) return;
    const row = task.row ?? this.takenIn;
    task.validator.violation(task, 'unlock-not-owner', {
      message: `${this.name} is released, but it is not held any more`,
      rule: 'lock#released-once-by-its-owner',
      lock: this.name,
      held: [...task.held],
      ...(row === undefined ? {} : { row }),
    });
  }

  #byAnother(owner: Task): void {
    const { takenIn } = this;
    owner.validator.violation(undefined, 'unlock-not-owner', {
      message: `${this.name} is released by another task than ${owner.comm}/${owner.pid} #${owner.id}, who holds it`,
      rule: 'lock#released-once-by-its-owner',
      lock: this.name,
      held: [...owner.held],
      ...(takenIn === undefined ? {} : { row: takenIn }),
    });
    owner.excused ??= new WeakSet();
    owner.excused.add(this);
  }

  /**
   * Leave the lock to I/O: the task no longer holds it, and the completion releases it (a folio or buffer under read).
   */
  handOver(): void {
    this.forget();
    this.task = undefined;
  }

  /** Give the lock to another task, which must release it: for locks that outlive the task that took them. */
  transfer(task: Task): void {
    this.forget();
    this.task = task;
    this.seq = ++task.taken;
    task.held.push(this);
    // Nobody waited for it here, so it says nothing about what the task holds.
    task.validator.acquired(task, this, true);
  }

  /** For a lock's own use: the record ends without a release, because another takes its place (downgrade). */
  retire(): void {
    this.released = true;
    this.forget();
  }

  /** For a lock's own use: a guard that was given back holds the lock again, in its old place. Nothing that `task` has taken after it is still held. */
  resume(task: Task): void {
    this.released = false;
    task.held.push(this);
    task.validator.acquired(task, this, true);
  }

  /** Safe to call after an explicit release, so that `using` and an early release go together. */
  [Symbol.dispose](): void {
    if (!this.released) this.release();
  }

  private forget(): void {
    const task = this.task;
    if (task === undefined) return;
    const { held } = task;
    const last = held[held.length - 1] === this;
    if (last) held.pop();
    else {
      const at = held.lastIndexOf(this);
      if (at >= 0) held.splice(at, 1);
    }
    task.validator.released(task, this, last);
  }
}

/** Whether another runs than that task. */
function isAnother(task: Task): boolean {
  const now = current.getStore();
  return now !== undefined && now !== task && known.has(task);
}

/** Only the deep checks pay for this; the text is made when somebody reads it. */
function stackHere(): Error {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 24;
  const error = new Error('taken');
  Error.stackTraceLimit = limit;
  return error;
}

/** An operation was to take this lock, and has. */
function seen(watch: LockWatch, lock: object, mode: HeldMode): void {
  for (let at: LockWatch | undefined = watch; at !== undefined; at = at.next) {
    if (at.lock === lock && (mode === 'write' || !at.write)) at.met = true;
  }
}

/** The lock is held for writing (alone). */
export type Exclusive<L extends LockName> = Held<L, 'write'>;
/** The lock is held, shared or alone. */
export type Shared<L extends LockName> = Held<L>;

/** Give a lock back: the cleanup of what was done with it. */
export function release_held(held: Held): void {
  held.release();
}

/** The guard by which `task` holds this very lock, or undefined. */
export function heldBy(task: Task, lock: object): HeldLock | undefined {
  const { held } = task;
  for (let i = held.length - 1; i >= 0; i--) {
    const entry = held[i];
    if (entry?.lock === lock) return entry;
  }
  return undefined;
}

/**
 * A lock goes away with its owner, or is made anew: nobody may hold it (debug_check_no_locks_freed).
 * @returns whether it is free; a violation is reported where it is not
 */
export function check_lock_freed(task: Task, lock: { readonly name: LockName; readonly isHeld: boolean }): boolean {
  if (!lock.isHeld || task.validator.enforce === 'off') return true;
  task.validator.violation(task, 'lock-held', {
    message: `${lock.name} goes away while it is held`,
    rule: 'lock#not-freed-while-held',
    lock: lock.name,
    held: [...task.held],
    ...(task.row === undefined ? {} : { row: task.row }),
  });
  return false;
}

/**
 * Check that `task` holds `lock`, as the kernel's lockdep_assert_held and lockdep_assert_held_write.
 * @param rule of the contract that demands it, for the report
 * @returns whether it does; a violation is reported where it does not.
 */
export function assert_held(
  task: Task,
  lock: { readonly name: LockName },
  mode: 'read' | 'write' | 'any' = 'any',
  rule?: string,
): boolean {
  if (task.validator.enforce === 'off') return true;
  const entry = heldBy(task, lock);
  if (entry !== undefined && (mode !== 'write' || entry.mode === 'write')) return true;
  const row = task.row;
  task.validator.violation(task, entry === undefined ? 'lock-not-held' : 'wrong-mode', {
    message:
      entry === undefined
        ? `${lock.name} must be held and is not`
        : `${lock.name} must be held for writing and is shared`,
    rule: rule ?? `lock#${lock.name}-is-held`,
    lock: lock.name,
    held: [...task.held],
    ...(row === undefined ? {} : { row }),
  });
  return false;
}
