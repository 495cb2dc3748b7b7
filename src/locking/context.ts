/**
 * The lock context: every operation of the filesystem is called through `call`, which holds the operation to its row of the
 * contract; the layer that calls it takes the row's locks through `take`, in the mode that the row says. The mode of a lock
 * is stated in the row and nowhere else.
 */
import type { LockName, Row } from '../contract/row.js';
import type { Awaitable, Given, Next } from '../sched/awaitable.js';
import { OpNode, OpNodes } from '../sched/op-node.js';
import type { Task } from '../sched/task.js';
import type { LockWatch } from '../sched/validator.js';
import { asTold, atomicOf, checkCall, watch } from './call-checks.js';
import { checkHeldAtEnd, checkPromise, checkReturn } from './context-check.js';
import type { Exclusive, Held } from './held.js';
import { type LockRef, NOTHING, type Outcome, type Participants, type ParticipantsOf } from './participants.js';
import { checksOf, type RowChecks } from './row-checks.js';
import type { LockOptions } from './sleeplock.js';

export type { LockRef, Outcome, Participants, ParticipantsOf } from './participants.js';

/** A lock that can be taken in both modes. */
interface ReadWriteLock<L extends LockName> extends LockRef {
  readonly name: L;
  read(task: Task, subclass?: number, options?: LockOptions): Awaitable<Held<L, 'read'>>;
  write(task: Task, subclass?: number, options?: LockOptions): Awaitable<Held<L, 'write'>>;
}

/** Operations that are called from outside any. */
const outermost = new OpNodes();

/** The place of an operation among those under way, were the task to call it now. */
export function nodeOf(task: Task, row: Row): OpNode {
  const parent = task.op;
  return (parent === undefined ? outermost : parent.inner).find(row) ?? enter(parent, row);
}

/** An operation is called on this path for the first time. */
function enter(parent: OpNode | undefined, row: Row): OpNode {
  const node = new OpNode(row, parent, checksOf(row));
  (parent?.inner ?? outermost).add(node);
  return node;
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

function taskless(_task: Task, operation?: unknown, a?: unknown): unknown {
  return (operation as (a: unknown) => unknown)(a);
}

type Operation<T> = Next<Task, Awaitable<T>>;

/** What reports are given to find an operation that was called itself: a function that has it under a name which they know. */
function naming(called: object, first: unknown): object {
  const operation = called === taskless ? first : called;
  return () => operation;
}

/** @param direct the operation is called itself, and not by a function made for this call */
function checked<T>(
  task: Task,
  row: Row,
  stated: object,
  direct: boolean,
  operation: Operation<T>,
  outcome?: Outcome<T>,
  a?: unknown,
  b?: unknown,
  c?: unknown,
  d?: unknown,
  e?: unknown,
  f?: unknown,
): Awaitable<T> {
  const participants = stated as Participants;
  const before = task.atomic;
  const mark = task.taken;
  const told = task.toldAsleep;
  const watching = task.watch;
  const kept = entered(task, row, participants);
  const op = task.op as OpNode;
  const atomic = task.atomic - before;
  // Not before: an observer may hold something itself.
  const { observer } = task.validator;
  if (observer !== undefined) observer.entered(task, row, participants);
  let result: Awaitable<T>;
  try {
    result = operation(task, a, b, c, d, e, f);
  } catch (error) {
    const what = direct ? naming(operation, a) : operation;
    leave(task, op, atomic, mark, kept, watching, participants, undefined, what);
    throw error;
  }
  if (result instanceof Promise) {
    const what = direct ? naming(operation, a) : operation;
    if (atomic > 0) return notAwaited(result, task, op, atomic, told, watching, what);
    return settled(result, task, op, atomic, mark, told, kept, watching, participants, outcome, what);
  }
  const states = outcome === undefined ? NOTHING : outcome(result);
  if (!hasLeft(task, op, atomic, mark, kept, watching, participants, states)) {
    const what = direct ? naming(operation, a) : operation;
    leave(task, op, atomic, mark, kept, watching, participants, states, what);
  }
  return result;
}

/**
 * An operation that may not wait has answered with a promise. That is reported, and it ends here: whoever has called it goes on without the answer, so what becomes of the
 * promise is not asked, and that it fails is nobody's business.
 * @throws with enforce=error EIO
 */
function notAwaited<T>(
  result: Promise<T>,
  task: Task,
  op: OpNode,
  atomic: number,
  told: number,
  watching: LockWatch | undefined,
  operation: object,
): Promise<T> {
  result.catch(() => undefined);
  const broken = checkPromise(task, told, operation);
  task.atomic -= atomic;
  task.op = op.parent;
  task.watch = watching;
  const { observer } = task.validator;
  if (observer !== undefined) observer.left(task, op.row, broken !== undefined);
  if (broken !== undefined) throw broken;
  return result;
}

/** The beginning of an operation, which is the task's innermost from now on. @returns how many of the locks held now are to be held at the return as well */
function entered(task: Task, row: Row, participants: Participants): number {
  const op = nodeOf(task, row);
  const checks = op.checks as RowChecks;
  const kept = checks.asks ? checkCall(task, checks, participants) : task.held.length;
  if (checks.watches) watch(task, checks, participants);
  task.atomic += atomicOf(checks, participants);
  task.op = op;
  op.calls++;
  return kept;
}

/** The end of an operation that needs no second look, as nearly all do. @returns whether it was one */
function hasLeft(
  task: Task,
  op: OpNode,
  atomic: number,
  mark: number,
  kept: number,
  watching: LockWatch | undefined,
  participants: Participants,
  told: Participants,
): boolean {
  if (task.watch !== watching || task.validator.observer !== undefined) return false;
  if (!asTold(task, op.checks as RowChecks, mark, kept, participants, told)) return false;
  task.atomic -= atomic;
  task.op = op.parent;
  return true;
}

/** The end of an operation that had to wait. Apart, because its closures would cost every call an allocation. */
export function settled<T>(
  result: Promise<T>,
  task: Task,
  op: OpNode,
  atomic: number,
  mark: number,
  told: number,
  kept: number,
  watching: LockWatch | undefined,
  participants: Participants,
  outcome: Outcome<T> | undefined,
  operation: object,
): Promise<T> {
  // Whatever it waits for, others run meanwhile.
  const broken = task.atomic > 0 ? checkPromise(task, told, operation) : undefined;
  return result.then(
    (value) => {
      leave(task, op, atomic, mark, kept, watching, participants, outcome?.(value) ?? NOTHING, operation);
      if (broken !== undefined) throw broken;
      return value;
    },
    (error: unknown) => {
      leave(task, op, atomic, mark, kept, watching, participants, undefined, operation);
      throw error;
    },
  );
}

/** The end of an operation. `stated` is what only its result told, undefined where it failed: then it may not keep anything it took. */
export function leave(
  task: Task,
  op: OpNode,
  atomic: number,
  mark: number,
  kept: number,
  watching: LockWatch | undefined,
  participants: Participants,
  stated: Participants | undefined,
  operation: object,
): void {
  task.atomic -= atomic;
  const { observer } = task.validator;
  if (observer !== undefined) observer.left(task, op.row, stated === undefined);
  task.op = op.parent;
  const checks = op.checks as RowChecks;
  const watched = task.watch;
  task.watch = watching;
  if (watched === watching && asTold(task, checks, mark, kept, participants, stated)) return;
  const all = { ...participants, ...stated };
  checkReturn(task, checks, mark, kept, watched, watching, all, stated !== undefined, operation);
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
