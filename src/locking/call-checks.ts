/** What `call` looks at each time, before an operation and after it: nothing but whether all is as its row says. What is wrong is found out by context-check.ts. */
import type { Row } from '../contract/row.js';
import type { Task } from '../sched/task.js';
import type { HeldLock } from '../sched/validator.js';
import { brokenAtCall, brokenGroup } from './context-check.js';
import { heldBy } from './held.js';
import { type LockRef, NOTHING, type Participants, statedBy } from './participants.js';
import { isKeptFor, type RowChecks, type RuleCheck, WANT_ANY, WANT_NONE, WANT_WRITE } from './row-checks.js';

/** Check what must be held at the call. @returns how many of the locks held now are to be held at the return as well */
export function checkCall(task: Task, checks: RowChecks, participants: Participants): number {
  let kept = task.held.length;
  for (let check = checks.atCall; check !== undefined; check = check.next) {
    const lock = statedBy(participants, check);
    if (lock === undefined) continue;
    const held = heldBy(task, lock);
    if (check.released && held !== undefined) kept--;
    if (!meets(check, held)) brokenAtCall(task, checks.row, check, lock, held);
  }
  if (checks.ends) for (const held of task.held) if (isKeptFor(checks, held)) kept--;
  if (checks.chooses) for (const group of checks.groups) checkGroup(task, checks.row, group, participants);
  return kept;
}

/** Whether that guard of the lock that is stated for a rule, or that there is none, is what the rule asks for. */
function meets(check: RuleCheck, held: HeldLock | undefined): boolean {
  if (held === undefined) return check.want === WANT_NONE;
  if (held.key.lock !== check.number) return false;
  return held.exclusive ? check.want !== WANT_NONE : check.want === WANT_ANY;
}

/** Of rules that are alternatives one must be met, as far as the caller states their locks. */
function checkGroup(task: Task, row: Row, group: readonly RuleCheck[], participants: Participants): void {
  let stated = false;
  for (let i = 0; i < group.length; i++) {
    const check = group[i];
    if (check === undefined) break;
    const lock = statedBy(participants, check);
    if (lock === undefined) continue;
    const held = heldBy(task, lock);
    if (held !== undefined && meets(check, held)) return;
    if (held === undefined ? lock.name === check.lock : held.key.lock === check.number) stated = true;
  }
  if (stated) brokenGroup(task, row, group);
}

/** Watch for what the operation is to take, as far as the caller states it. */
export function watch(task: Task, checks: RowChecks, participants: Participants): void {
  for (const check of checks.takes) {
    const lock = statedBy(participants, check);
    if (lock?.name !== check.lock) continue;
    task.watch = { lock, rule: check.rule, write: check.want === WANT_WRITE, met: false, next: task.watch };
  }
}

/** 1 where the operation may not sleep in this case. */
export function atomicOf(checks: RowChecks, participants: Participants): number {
  if (!checks.depends) return checks.atomic;
  const { atomicWith } = checks;
  for (let i = 0; i < atomicWith.length; i++) {
    const check = atomicWith[i];
    if (check !== undefined && statedBy(participants, check)?.name === check.lock) return 1;
  }
  return checks.atomic;
}

/**
 * Whether what is held at the return is what the row says, nothing but a glance: of what was taken nothing is still held, but for what the row says,
 * and of what was held everything, but for what it lets go.
 *
 * @param stated what only the result told, undefined where the operation failed: then it may not keep anything it took
 */
export function asTold(
  task: Task,
  checks: RowChecks,
  mark: number,
  kept: number,
  participants: Participants,
  stated: Participants | undefined,
): boolean {
  const { held } = task;
  let count = held.length;
  if (checks.brings !== undefined && stated !== undefined) {
    const { brings } = checks;
    const lock = statedBy(stated, brings) ?? statedBy(participants, brings);
    const last = count === 0 ? undefined : held[count - 1];
    if (last !== undefined && last.seq > mark && isTheOne(brings, last, lock)) count--;
    else if (lock !== undefined) return false;
  }
  if (count !== kept) return false;
  const below = count === 0 ? undefined : held[count - 1];
  if (below !== undefined && below.seq > mark) return false;
  return !checks.releases || allReleased(task, checks.released, participants, stated ?? NOTHING);
}

/** Whether a lock that was taken is the one that the row lets the operation return with; one of its name where nobody says whose. */
function isTheOne(check: RuleCheck, held: HeldLock, lock: LockRef | undefined): boolean {
  if (lock !== undefined && held.lock !== lock) return false;
  return held.key.lock === check.number && (check.want !== WANT_WRITE || held.exclusive);
}

/**
 * Whether what the row says is given up is given up. The rest needs no look: as many of the locks that were held are held still as are to be, so
 * if those that may go are gone, the others are there.
 */
function allReleased(
  task: Task,
  released: readonly RuleCheck[],
  participants: Participants,
  stated: Participants,
): boolean {
  for (let i = 0; i < released.length; i++) {
    const check = released[i];
    if (check === undefined) break;
    const lock = statedBy(participants, check) ?? statedBy(stated, check);
    if (lock !== undefined && heldBy(task, lock) !== undefined) return false;
  }
  return true;
}
