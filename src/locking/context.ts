/**
 * The lock context: every operation of the filesystem is called through `call`, which holds the operation to its row of the
 * contract; the layer that calls it takes the row's locks through `take`, in the mode that the row says. The mode of a lock
 * is stated in the row and nowhere else.
 *
 * locking/ is the locks and their validator; it may import sched/ and below.
 */
import type { LockName, Row } from '../contract/row.js';
import type { Awaitable, Given } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import { checked, type Operation, taskless } from './checked-call.js';
import { checkHeldAtEnd } from './context-check.js';
import type { Exclusive, Held } from './held.js';
import type { LockRef, Outcome, ParticipantsOf } from './participants.js';
import type { LockOptions } from './sleeplock.js';

export type { LockRef, Outcome, Participants, ParticipantsOf } from './participants.js';

/** A lock that can be taken in both modes. */
interface ReadWriteLock<L extends LockName> extends LockRef {
  readonly name: L;
  read(task: Task, subclass?: number, options?: LockOptions): Awaitable<Held<L, 'read'>>;
  write(task: Task, subclass?: number, options?: LockOptions): Awaitable<Held<L, 'write'>>;
}

/**
 * Call an operation under its row: check what must be held, run it (not allowed to sleep where the row says so), check what is
 * held at the return, whether it returns or throws.
 *
 * @param participants the locks of those who take part, by role
 * @param outcome states the locks that only the result tells
 * @throws what the operation throws; with enforce=error also EIO or EDEADLK for a broken rule
 */
export function call<R extends Row & { readonly mayBlock: 'no' }, T>(
  task: Task,
  row: R,
  participants: ParticipantsOf<R>,
  operation: () => T,
  outcome?: Outcome<T>,
): T;
export function call<R extends Row, T>(
  task: Task,
  row: R,
  participants: ParticipantsOf<R>,
  operation: () => Awaitable<T>,
  outcome?: Outcome<T>,
): Awaitable<T>;
export function call<T>(
  task: Task,
  row: Row,
  stated: object,
  operation: () => Awaitable<T>,
  outcome?: Outcome<T>,
): Awaitable<T> {
  if (!task.validator.checking) return operation();
  return checked(task, row, stated, false, operation, outcome);
}

/**
 * As `call`, of an operation that takes the task and some more: those that are called for each name and each part of a path, without a function made for each call.
 * The operation says nothing of locks by its result.
 * @param given what it is called with, behind the task
 */
export function invoke<R extends Row & { readonly mayBlock: 'no' }, T, G extends Given>(
  task: Task,
  row: R,
  participants: ParticipantsOf<R>,
  operation: (task: Task, ...given: G) => T,
  ...given: G
): T;
export function invoke<R extends Row, T, G extends Given>(
  task: Task,
  row: R,
  participants: ParticipantsOf<R>,
  operation: (task: Task, ...given: G) => Awaitable<T>,
  ...given: G
): Awaitable<T>;
export function invoke<T>(
  task: Task,
  row: Row,
  stated: object,
  operation: Operation<T>,
  a?: unknown,
  b?: unknown,
  c?: unknown,
  d?: unknown,
  e?: unknown,
  f?: unknown,
): Awaitable<T> {
  if (!task.validator.checking) return operation(task, a, b, c, d, e, f);
  return checked(task, row, stated, true, operation, undefined, a, b, c, d, e, f);
}

/** As `invoke`, of an operation whose result tells of locks. @param outcome as of `call` */
export function invoke_telling<R extends Row, T, G extends Given>(
  task: Task,
  row: R,
  participants: ParticipantsOf<R>,
  outcome: Outcome<T>,
  operation: (task: Task, ...given: G) => Awaitable<T>,
  ...given: G
): Awaitable<T>;
export function invoke_telling<T>(
  task: Task,
  row: Row,
  stated: object,
  outcome: Outcome<T>,
  operation: Operation<T>,
  a?: unknown,
  b?: unknown,
  c?: unknown,
  d?: unknown,
  e?: unknown,
  f?: unknown,
): Awaitable<T> {
  if (!task.validator.checking) return operation(task, a, b, c, d, e, f);
  return checked(task, row, stated, true, operation, outcome, a, b, c, d, e, f);
}

/** As `invoke`, of an operation that is not given the task: those that make inodes and let them go. */
export function invoke_taskless<R extends Row, A, T>(
  task: Task,
  row: R,
  participants: ParticipantsOf<R>,
  operation: (a: A) => T,
  a: A,
): T {
  if (!task.validator.checking) return operation(a);
  return checked(task, row, participants, true, taskless, undefined, operation, a) as T;
}

/** The modes in which a row's rules have lock `L` of role `O`. */
type ModeOf<R extends Row, L extends LockName, O extends string> = Extract<
  R['rules'][number],
  { lock: L; of: O }
>['mode'];

/**
 * Take a lock for an operation, in the mode that the operation's row says.
 *
 * @param of the role of the lock's owner in the row's rules
 * @param subclass the nesting level (I_MUTEX_PARENT …)
 * @throws EINTR if interruptible and a signal arrives; EDEADLK where the task holds it already
 */
export function take<R extends Row, L extends LockName, O extends string>(
  task: Task,
  row: R,
  of: O,
  lock: ReadWriteLock<L>,
  subclass = 0,
  options?: LockOptions,
): Awaitable<ModeOf<R, L, O> extends 'write' ? Exclusive<L> : Held<L>> {
  const { rules } = row;
  type Guard = ModeOf<R, L, O> extends 'write' ? Exclusive<L> : Held<L>;
  let write = false;
  for (let i = 0; i < rules.length; i++) {
    const rule = rules[i];
    if (rule?.of === of && rule.lock === lock.name) {
      write = rule.mode === 'write';
      break;
    }
  }
  const taken = write ? lock.write(task, subclass, options) : lock.read(task, subclass, options);
  return taken as Awaitable<Guard>;
}

/** Report what a task still holds at its end: a task that has ended must hold nothing. */
export function task_end(task: Task): void {
  if (task.held.length > 0) checkHeldAtEnd(task);
  const { observer } = task.validator;
  if (observer !== undefined) observer.ended(task);
}
