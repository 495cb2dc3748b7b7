/**
 * What a Task tells about itself to whoever validates locking. The interface lives here because Task carries it; the
 * implementation is locking/lockdep.ts.
 */
import type { LockName, Row, RuleMode } from '../contract/row.js';
import type { Task } from './task.js';

/** A lock that a task holds, as the record of it on the task. */
export interface HeldLock {
  readonly name: LockName;
  /** The lock object itself: identity tells instances apart. */
  readonly lock: object;
  readonly mode: Exclude<RuleMode, 'any' | 'none'>;
  readonly subclass: number;
  /** The operation during which it was taken, or undefined outside any. */
  readonly takenIn: Row | undefined;
  /** The stack at the acquisition, where the deep checks are on. */
  readonly stack: string | undefined;
}

/** How strict a machine is: skip the checks, log, also fail the system call, stop the mount. */
export type EnforceLevel = 'off' | 'warn' | 'error' | 'panic';

export interface Validator {
  readonly enforce: EnforceLevel;
  /** True where acquisitions record their stacks. */
  readonly stacks: boolean;
  /** A lock was taken by `task` and is on its list already. */
  acquired(task: Task, held: HeldLock): void;
  released(task: Task, held: HeldLock): void;
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
  | 'guarded-state'
  | 'folio-state'
  | 'promise';

export interface ViolationDetail {
  /** One sentence: what happened. */
  readonly message: string;
  /** The rule's id in the contract, where the rule is a row's. */
  readonly rule?: string;
  readonly row?: Row;
  readonly lock?: LockName;
  readonly held?: readonly HeldLock[];
}
