/**
 * What a Task tells about itself to whoever validates locking. The interface lives here because Task carries it; the
 * implementation is locking/lockdep.ts.
 */
import type { LockName, LockRule, Row, RuleMode } from '../contract/row.js';
import type { Task } from './task.js';

/** A lock that a task holds, as the record of it on the task. */
export interface HeldLock {
  readonly name: LockName;
  /** Its class, whatever the nesting level. */
  readonly key: TrackedLock['key'];
  /** The lock object itself: identity tells instances apart. */
  readonly lock: object;
  readonly mode: Exclude<RuleMode, 'any' | 'none'>;
  /** Its mode is 'write'. */
  readonly exclusive: boolean;
  readonly subclass: number;
  /** Which of the locks that its task has taken it is (Task.taken); it grows along the list of locks held. */
  readonly seq: number;
  /** The operation during which it was taken, or undefined outside any. */
  readonly takenIn: Row | undefined;
  /** The stack at the acquisition, where the deep checks are on. */
  readonly stack: string | undefined;
  /** The validator's own: what this lock is in a chain, and the chain as it was before. */
  link: number;
  before: object | undefined;
  /** When it was taken, for lock_stat: monotonic milliseconds, 0 where nobody measures. */
  since: number;
}

/** How a lock is wanted: alone, shared, or shared even where a writer waits. */
export type LockMode = 'write' | 'read' | 'read recursive';

/** A lock as the validator sees it. */
export interface TrackedLock {
  readonly name: LockName;
  /** Its class, whatever the nesting level. */
  readonly key: { readonly id: number; readonly kind: string; readonly lock: number };
  /** What it is a part of, where that says in which order several of its name are taken. */
  readonly owner?: object | undefined;
}

/** How one class came to be after another. */
export interface OrderLink {
  /** The class that was taken. */
  readonly lock: string;
  /** The class that was held then. */
  readonly held: string;
  readonly task: string;
  readonly stack: string;
}

/** What shows that an order of locks, or a use of one, is wrong. */
export interface OrderEvidence {
  /** What the kernel would call it. */
  readonly title: string;
  /** The class that is wanted, and the one that is held already and stands against it. */
  readonly wanted: string;
  readonly holding: string;
  /** The dependencies learned before, from the wanted class to the held one. */
  readonly chain: readonly OrderLink[];
  /** For two tasks side by side, what each of them does, in turns; '' where it does nothing. */
  readonly scenario: readonly (readonly [first: string, second: string])[];
  /** Usages that contradict each other, in words, with where they were seen. */
  readonly usages?: readonly { readonly what: string; readonly task: string; readonly stack: string }[];
}

/** A task that waits in a circle. */
export interface CircleMember {
  readonly task: string;
  readonly waitsFor: string;
  readonly held: readonly string[];
  readonly stack: string;
}

/** A lock that an operation under way is to take: the validator's note of whether it did. */
export interface LockWatch {
  readonly lock: object;
  /** The rule that says so. */
  readonly rule: LockRule;
  readonly write: boolean;
  met: boolean;
  readonly next: LockWatch | undefined;
}

/** How strict a machine is: skip the checks, log, also fail the system call, stop the mount. */
export type EnforceLevel = 'off' | 'warn' | 'error' | 'panic';

/** Who wants to know everything that happens: the lock trace, and the record of which locks were held. */
export interface LockObserver {
  /** An operation begins; it is the task's innermost. */
  entered(task: Task, row: Row, participants: Readonly<Record<string, object | undefined>>): void;
  left(task: Task, row: Row, failed: boolean): void;
  taken(task: Task, held: HeldLock): void;
  dropped(task: Task, held: HeldLock): void;
  /** The task goes to sleep, or goes on. */
  slept(task: Task): void;
  woke(task: Task): void;
  ended(task: Task): void;
  /** Guarded state is touched; `lock` is the one that should be held. */
  accessed(task: Task, field: string, write: boolean, lock: object): void;
}

export interface Validator {
  readonly enforce: EnforceLevel;
  /** Its level is not 'off'. */
  readonly checking: boolean;
  /** How many violations were seen, repeated ones included. */
  readonly total: number;
  /** Told of everything while it is set. */
  readonly observer: LockObserver | undefined;
  /** True where acquisitions record their stacks. */
  readonly stacks: boolean;
  /**
   * `task` is about to take `lock` and may have to wait for it. Reports an order that could deadlock before anything waits.
   * @param nest a lock that the task holds and that makes it safe to take several of this class
   * @returns what `acquired` is given where the lock is had at once, so that it need not look again
   */
  acquire(task: Task, lock: TrackedLock, mode: LockMode, subclass: number, nest?: object): object | undefined;
  /**
   * A lock was taken by `task` and is on its list already.
   * @param trying it would not have waited
   * @param chain what `acquire` has returned, where the task has taken and given back nothing since
   */
  acquired(task: Task, held: HeldLock, trying: boolean, chain?: object): void;
  /** A lock has left the list of `task`; `last` where none was taken after it. */
  released(task: Task, held: HeldLock, last: boolean): void;
  /** Completions can come again while `task` holds what it holds (local_irq_restore). */
  completionsOn(task: Task): void;
  /**
   * `task` goes to sleep.
   * @param blockers those who must do something before it can go on, as far as that is known
   * @param interruptible a signal can end it: it may take as long as it takes
   * @throws EDEADLK where one of them waits for `task`, at every level: none of them would ever wake up
   */
  sleeping(task: Task, blockers: (() => readonly Task[]) | undefined, interruptible: boolean): void;
  /** It goes on. */
  awake(task: Task): void;
  /** The tasks that sleep now. */
  asleep(): Iterable<Task>;
  /** A lock was had only after a wait of so many milliseconds (lock_stat). */
  contended(task: Task, lock: TrackedLock, mode: LockMode, subclass: number, waited: number): void;
  /**
   * A rule was broken. Logs it, counts it and, at enforce=error and above, throws (EDEADLK for order and self-deadlock, EIO
   * for the rest).
   */
  violation(task: Task | undefined, kind: ViolationKind, detail: ViolationDetail): void;
}

export type ViolationKind =
  | 'lock-not-held'
  | 'lock-held'
  | 'wrong-mode'
  | 'double-lock'
  | 'unlock-not-owner'
  | 'held-at-task-end'
  | 'leaked-by-operation'
  | 'not-released'
  | 'sleep-in-atomic'
  | 'lock-order'
  | 'lock-usage'
  | 'deadlock'
  | 'hung-task'
  | 'guarded-state'
  | 'folio-state'
  | 'promise';

export interface ViolationDetail {
  /** One sentence: what happened. */
  readonly message: string;
  /** The rule's id in the contract, where the rule is a row's; else its name here, `subject#what-is-demanded`. */
  readonly rule: string;
  readonly row?: Row;
  readonly lock?: LockName;
  readonly held?: readonly HeldLock[];
  /** For the order of locks: what was learned before. */
  readonly order?: OrderEvidence;
  /** For tasks that wait for each other, or for too long. */
  readonly circle?: readonly CircleMember[];
  /** Where it happened, where that is not here. */
  readonly stack?: string;
  /** The operation that has returned and is at fault, or a closure that calls it: it is on no stack any more. */
  readonly operation?: object;
}
