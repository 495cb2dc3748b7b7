/** A call of an operation that is checked: what must be held at the call, that it does not sleep where its row says so, and what is held at the return. */
import type { Row } from '../contract/row.js';
import type { Awaitable, Next } from '../sched/awaitable.js';
import { OpNode, OpNodes } from '../sched/op-node.js';
import type { Task } from '../sched/task.js';
import type { LockWatch } from '../sched/validator.js';
import { asTold, atomicOf, checkCall, watch } from './call-checks.js';
import { checkPromise, checkReturn } from './context-check.js';
import { NOTHING, type Outcome, type Participants } from './participants.js';
import { checksOf, type RowChecks } from './row-checks.js';

/** An operation as the lock context calls it. */
export type Operation<T> = Next<Task, Awaitable<T>>;

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

/** As operation: one that is not given the task. @param operation the one @param a what it is given */
export function taskless(_task: Task, operation?: unknown, a?: unknown): unknown {
  return (operation as (a: unknown) => unknown)(a);
}

/** What reports are given to find an operation that was called itself: a function that has it under a name which they know. */
function naming(called: object, first: unknown): object {
  const operation = called === taskless ? first : called;
  return () => operation;
}

/**
 * Call an operation and hold it to its row.
 * @param stated the locks of those who take part, by role
 * @param direct the operation is called itself, and not by a function made for this call
 * @throws what the operation throws; with enforce=error also EIO or EDEADLK for a broken rule
 */
export function checked<T>(
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
