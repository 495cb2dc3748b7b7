/** What `call` finds wrong, named: the slow half of the lock context. */
import type { LockRule, Row } from '../contract/row.js';
import type { Task } from '../sched/task.js';
import type { HeldLock, LockWatch, ViolationKind } from '../sched/validator.js';
import { might_sleep } from '../sched/wait.js';
import { type Held, heldBy } from './held.js';
import type { LockRef, Participants } from './participants.js';
import { isKeptFor, type RowChecks, type RuleCheck, WANT_NONE, WANT_WRITE } from './row-checks.js';

const nameOf = (row: Row): string => `${row.section}.${row.op}`;

function fault(task: Task, kind: ViolationKind, row: Row, rule: LockRule, message: string, operation?: object): void {
  task.validator.violation(task, kind, {
    message: `${nameOf(row)}: ${message}`,
    rule: rule.id,
    row,
    lock: rule.lock,
    held: [...task.held],
    ...(operation === undefined ? {} : { operation }),
  });
}

/** What was reported of a guard or a lock is not reported again when the task ends, or when its owner gives back what somebody else gave back. */
function excuse(task: Task, what: object): void {
  task.excused ??= new WeakSet();
  task.excused.add(what);
}

/** A rule of the call may be broken: `held` is the guard by which the task holds the stated lock, if it does. */
export function brokenAtCall(task: Task, row: Row, check: RuleCheck, lock: LockRef, held: HeldLock | undefined): void {
  const { rule } = check;
  // A role may have another lock in another rule of the row: this rule does not speak of the one that was stated.
  if (lock.name !== rule.lock) return;
  if (check.want === WANT_NONE) fault(task, 'lock-held', row, rule, `${rule.lock} of ${rule.of} must not be held`);
  else if (held === undefined) {
    fault(task, 'lock-not-held', row, rule, `${rule.lock} of ${rule.of} must be held (${rule.mode}) at the call`);
  } else fault(task, 'wrong-mode', row, rule, `${rule.lock} of ${rule.of} must be held exclusively and is shared`);
}

/** None of several alternatives is met at the call. */
export function brokenGroup(task: Task, row: Row, group: readonly RuleCheck[]): void {
  const [first] = group;
  if (first === undefined) return;
  const names = group.map(({ rule }) => `${rule.lock} of ${rule.of}`).join(' or ');
  fault(task, 'lock-not-held', row, first.rule, `${names} must be held at the call`);
}

/**
 * Something at the return is not as it was left: find out which rules are broken. Guards are told apart by when they were taken, not counted: a
 * lock dropped and another one leaked do not make up for each other.
 */
export function checkReturn(
  task: Task,
  checks: RowChecks,
  mark: number,
  kept: number,
  watched: LockWatch | undefined,
  watching: LockWatch | undefined,
  participants: Participants,
  succeeded: boolean,
  operation: object,
): void {
  const { row } = checks;
  const dropped = checkCallers(task, checks, mark, participants, operation);
  if (succeeded) {
    checkTaken(task, checks, watched, watching, operation);
    checkAcquired(task, checks, mark, participants, operation);
  }
  const fresh = task.held.filter((held) => held.seq > mark);
  const left = succeeded ? unaccounted(checks, fresh, participants) : fresh;
  const keeps = succeeded && row.keepsUntil !== undefined;
  const leaked = left.filter((held) => task.excused?.has(held) !== true && !(keeps && isItsOwn(checks, held)));
  if (checks.ends) leaked.push(...task.held.filter((held) => isKeptFor(checks, held)));
  if (leaked.length > 0) reportLeak(task, row, leaked, operation);
  const old = task.held.length - fresh.length;
  if (checks.exact && dropped === 0 && old < kept) {
    task.validator.violation(task, 'lock-not-held', {
      message: `${nameOf(row)} gave up ${kept - old === 1 ? 'a lock' : `${kept - old} locks`} of its caller that its row does not let it give up`,
      rule: `${nameOf(row)}#keeps-what-its-caller-holds`,
      row,
      held: [...task.held],
      operation,
    });
  }
}

/** The caller's locks. @returns how many broken rules explain that fewer locks are held */
function checkCallers(
  task: Task,
  checks: RowChecks,
  mark: number,
  participants: Participants,
  operation: object,
): number {
  let dropped = 0;
  for (const check of checks.atReturn) {
    const { rule } = check;
    const lock = participants[check.key];
    if (lock?.name !== rule.lock) continue;
    const held = heldBy(task, lock);
    if (check.released) {
      if (held === undefined) continue;
      excuse(task, held);
      fault(
        task,
        'not-released',
        checks.row,
        rule,
        `returned with ${rule.lock} of ${rule.of} still held, which it must give up`,
        operation,
      );
    } else if (held === undefined) {
      dropped++;
      excuse(task, lock);
      fault(
        task,
        'lock-not-held',
        checks.row,
        rule,
        `${rule.lock} of ${rule.of} must be held at the return`,
        operation,
      );
    } else if (check.want === WANT_WRITE && held.mode !== 'write') {
      if (held.seq > mark) {
        // Downgraded: what its caller gives back is another guard.
        dropped++;
        excuse(task, held);
        excuse(task, lock);
      }
      const message = `${rule.lock} of ${rule.of} must be held exclusively at the return`;
      fault(task, 'wrong-mode', checks.row, rule, message, operation);
    } else if (held.seq > mark) {
      dropped++;
      excuse(task, held);
      excuse(task, lock);
      const message = `${rule.lock} of ${rule.of} must stay held, and was given up and taken again`;
      fault(task, 'lock-not-held', checks.row, rule, message, operation);
    }
  }
  return dropped;
}

/** What the operation had to take while it ran. */
function checkTaken(
  task: Task,
  checks: RowChecks,
  watched: LockWatch | undefined,
  watching: LockWatch | undefined,
  operation: object,
): void {
  for (let at = watched; at !== undefined && at !== watching; at = at.next) {
    if (at.met) continue;
    const { rule } = at;
    const message = `must take ${rule.lock} of ${rule.of} (${rule.mode}) and did not`;
    fault(task, 'lock-not-held', checks.row, rule, message, operation);
  }
}

/** What the operation must have returned with, where it is known whose lock it is. */
function checkAcquired(
  task: Task,
  checks: RowChecks,
  mark: number,
  participants: Participants,
  operation: object,
): void {
  for (const check of checks.acquired) {
    const { rule } = check;
    const lock = participants[check.key];
    if (lock?.name !== rule.lock) continue;
    const held = heldBy(task, lock);
    if (held === undefined || held.seq <= mark) {
      fault(task, 'lock-not-held', checks.row, rule, `must return with ${rule.lock} of ${rule.of} held`, operation);
    } else if (check.want === WANT_WRITE && held.mode !== 'write') {
      fault(
        task,
        'wrong-mode',
        checks.row,
        rule,
        `must return with ${rule.lock} of ${rule.of} held exclusively`,
        operation,
      );
    }
  }
}

/** Of the locks taken and still held those that no rule lets the operation return with. */
function unaccounted(checks: RowChecks, fresh: readonly HeldLock[], participants: Participants): HeldLock[] {
  const left = [...fresh];
  for (const { rule, key } of checks.acquired) {
    const lock = participants[key];
    // Where nobody says whose lock it is, one of that name will do.
    const at = left.findIndex((held) => (lock === undefined ? held.name === rule.lock : held.lock === lock));
    if (at >= 0) left.splice(at, 1);
  }
  return left;
}

/** Whether an operation has taken a lock for itself: its rules do not speak of that lock. */
function isItsOwn({ row }: RowChecks, { takenIn, name }: HeldLock): boolean {
  return takenIn === row && !row.rules.some(({ lock }) => lock === name);
}

function reportLeak(task: Task, row: Row, leaked: readonly HeldLock[], operation: object): void {
  const [first] = leaked;
  for (const held of leaked) excuse(task, held);
  task.validator.violation(task, 'leaked-by-operation', {
    message: `${nameOf(row)} returned with ${leaked.map((held) => held.name).join(', ')} still held`,
    rule: `${nameOf(row)}#leaves-no-lock`,
    row,
    held: [...task.held],
    operation,
    ...(first === undefined ? {} : { lock: first.name }),
  });
}

/**
 * An operation has answered with a promise where its task may not sleep: by a row that says so, or with a spinning lock held. A wait that was reported
 * already is the reason.
 * @param told how often the task had been reported to sleep when the operation was called
 * @returns what the system call is to fail with
 */
export function checkPromise(task: Task, told: number, operation: object): unknown {
  if (task.toldAsleep !== told) return undefined;
  try {
    might_sleep(task, 'for the promise that it returned', operation);
  } catch (error) {
    return error;
  }
  return undefined;
}

/**
 * A task has ended with locks held. What it has leaked is given back, after the report: nobody else will do that, and those who wait for it would wait for ever.
 * @throws with enforce=error EIO
 */
export function checkHeldAtEnd(task: Task): void {
  const { row, excused } = task;
  try {
    if (excused !== undefined && task.held.every((held) => excused.has(held))) return;
    task.validator.violation(task, 'held-at-task-end', {
      message: `${task.syscall === '' ? task.comm : task.syscall} ended with ${task.held.map((held) => held.name).join(', ')} held`,
      rule: 'task#holds-nothing-at-its-end',
      held: [...task.held],
      ...(row === undefined ? {} : { row }),
    });
  } finally {
    for (const held of task.held.toReversed()) {
      excuse(task, held);
      (held as Held).release();
    }
  }
}
