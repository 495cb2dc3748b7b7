/**
 * The lock context: every operation of the filesystem is called through `call`, which holds the operation to its row of the
 * contract; the layer that calls it takes the row's locks through `take`, in the mode that the row says. The mode of a lock
 * is stated in the row and nowhere else.
 */
import type { LockName, LockRule, Row } from '../contract/row.js';
import type { Awaitable } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import type { ViolationKind } from '../sched/validator.js';
import { type Exclusive, type Held, heldBy } from './held.js';
import type { LockOptions } from './sleeplock.js';

/** The locks of the participants, by the roles that the row's rules name; a role that is left out is not checked. */
export type Participants = Readonly<Record<string, LockRef | undefined>>;

/** Any lock, as far as checks need it. */
export interface LockRef {
  readonly name: LockName;
}

/** A lock that can be taken in both modes. */
interface ReadWriteLock<L extends LockName> extends LockRef {
  readonly name: L;
  read(task: Task, subclass?: number, options?: LockOptions): Awaitable<Held<L, 'read'>>;
  write(task: Task, subclass?: number, options?: LockOptions): Awaitable<Held<L, 'write'>>;
}

/** What is checked of a row at run time, found once. */
interface Compiled {
  readonly atCall: readonly LockRule[];
  readonly atReturn: readonly LockRule[];
}

const compiled = new WeakMap<Row, Compiled>();

function compile(row: Row): Compiled {
  const known = compiled.get(row);
  if (known !== undefined) return known;
  const fresh: Compiled = {
    atCall: row.rules.filter((rule) => rule.heldBy === 'caller'),
    atReturn: row.rules.filter((rule) => rule.atReturn === 'acquired' || rule.atReturn === 'held'),
  };
  compiled.set(row, fresh);
  return fresh;
}

function fault(task: Task, kind: ViolationKind, row: Row, rule: LockRule, message: string): void {
  task.validator.violation(task, kind, {
    message: `${row.section}.${row.op}: ${message}`,
    rule: rule.id,
    row,
    lock: rule.lock,
    held: [...task.held],
  });
}

/** The participant of a rule: by its role, or `role/variant` where the row tells variants apart. */
function participant(participants: Participants, rule: LockRule): LockRef | undefined {
  // A rule that is one of several for its role speaks only where the caller says which of them applies.
  const byRole = participants[rule.variant === undefined ? rule.of : `${rule.of}/${rule.variant}`];
  return byRole?.name === rule.lock ? byRole : undefined;
}

function checkCall(task: Task, row: Row, rules: readonly LockRule[], participants: Participants): void {
  for (const rule of rules) {
    const lock = participant(participants, rule);
    if (lock === undefined) continue;
    const held = heldBy(task, lock);
    if (rule.mode === 'none') {
      if (held !== undefined) fault(task, 'lock-held', row, rule, `${rule.lock} of ${rule.of} must not be held`);
    } else if (held === undefined) {
      fault(task, 'lock-not-held', row, rule, `${rule.lock} of ${rule.of} must be held (${rule.mode}) at the call`);
    } else if (rule.mode === 'write' && held.mode !== 'write') {
      fault(task, 'wrong-mode', row, rule, `${rule.lock} of ${rule.of} must be held exclusively and is shared`);
    }
  }
}

function checkReturn(task: Task, row: Row, heldBefore: number, participants: Participants): void {
  const { atReturn } = compile(row);
  let acquired = 0;
  for (const rule of atReturn) {
    const lock = participant(participants, rule);
    if (lock === undefined) continue;
    if (rule.atReturn === 'acquired') acquired++;
    if (rule.mode !== 'none' && heldBy(task, lock) === undefined) {
      fault(task, 'lock-not-held', row, rule, `${rule.lock} of ${rule.of} must be held at the return`);
    }
  }
  for (const rule of row.rules) {
    if (rule.atReturn === 'acquired') acquired = Math.max(acquired, 1);
  }
  if (task.held.length > heldBefore + acquired) leaked(task, row, heldBefore + acquired);
}

function leaked(task: Task, row: Row, expected: number): void {
  const kept = task.held.slice(expected);
  task.validator.violation(task, 'leaked-by-operation', {
    message: `${row.section}.${row.op} returned with ${kept.map((held) => held.name).join(', ')} still held`,
    row,
    held: [...task.held],
    ...(kept[0] === undefined ? {} : { lock: kept[0].name }),
  });
}

/**
 * Call an operation under its row: check what must be held, run it (not allowed to sleep where the row says so), check what is
 * held at the return, whether it returns or throws.
 *
 * @param participants the locks of those who take part, by role
 * @throws what the operation throws; with enforce=error also EIO or EDEADLK for a broken rule
 */
export function call<T>(
  task: Task,
  row: Row & { readonly mayBlock: 'no' },
  participants: Participants,
  operation: () => T,
): T;
export function call<T>(task: Task, row: Row, participants: Participants, operation: () => Awaitable<T>): Awaitable<T>;
export function call<T>(task: Task, row: Row, participants: Participants, operation: () => Awaitable<T>): Awaitable<T> {
  if (task.validator.enforce === 'off') return operation();
  checkCall(task, row, compile(row).atCall, participants);
  const heldBefore = task.held.length;
  const atomic = row.mayBlock === 'no' ? 1 : 0;
  task.ops.push(row);
  task.atomic += atomic;
  let result: Awaitable<T>;
  try {
    result = operation();
  } catch (error) {
    leave(task, row, atomic, heldBefore, undefined);
    throw error;
  }
  if (!(result instanceof Promise)) {
    leave(task, row, atomic, heldBefore, participants);
    return result;
  }
  return result.then(
    (value) => {
      leave(task, row, atomic, heldBefore, participants);
      return value;
    },
    (error: unknown) => {
      leave(task, row, atomic, heldBefore, undefined);
      throw error;
    },
  );
}

/** The end of an operation; `participants` is undefined where it failed: then it may not keep anything it took. */
function leave(task: Task, row: Row, atomic: number, before: number, participants: Participants | undefined): void {
  task.atomic -= atomic;
  task.ops.pop();
  if (participants !== undefined) checkReturn(task, row, before, participants);
  else if (task.held.length > before) leaked(task, row, before);
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
  const rule = row.rules.find((candidate) => candidate.of === of && candidate.lock === lock.name);
  type Guard = ModeOf<R, L, O> extends 'write' ? Exclusive<L> : Held<L>;
  const taken = rule?.mode === 'write' ? lock.write(task, subclass, options) : lock.read(task, subclass, options);
  return taken as Awaitable<Guard>;
}

/** Report and drop what a task still holds at its end: a task that has ended must hold nothing. */
export function task_end(task: Task): void {
  if (task.held.length === 0) return;
  const row = task.row;
  task.validator.violation(task, 'held-at-task-end', {
    message: `${task.syscall === '' ? task.comm : task.syscall} ended with ${task.held.map((held) => held.name).join(', ')} held`,
    held: [...task.held],
    ...(row === undefined ? {} : { row }),
  });
}
