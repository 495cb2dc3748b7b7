/**
 * The lock context: every operation of the filesystem is called through `call`, which holds the operation to its row of the
 * contract; the layer that calls it takes the row's locks through `take`, in the mode that the row says. The mode of a lock
 * is stated in the row and nowhere else.
 */
import type { LockName, Row } from '../contract/row.js';
import type { Awaitable } from '../sched/awaitable.js';
import { OpNode } from '../sched/op-node.js';
import type { Task } from '../sched/task.js';
import type { HeldLock, LockWatch } from '../sched/validator.js';
import { brokenAtCall, brokenGroup, checkHeldAtEnd, checkPromise, checkReturn } from './context-check.js';
import { type Exclusive, type Held, heldBy } from './held.js';
import {
  checksOf,
  keptFor,
  ROLES,
  type RowChecks,
  type RuleCheck,
  WANT_ANY,
  WANT_NONE,
  WANT_WRITE,
} from './row-checks.js';
import type { LockOptions } from './sleeplock.js';

/**
 * The locks of the participants, by the roles that the row's rules name (`role/variant` where the row tells variants apart, `role.lock`
 * where one role has two locks in the row); a role that is left out is not checked.
 */
export type Participants = Readonly<Record<string, LockRef | undefined>>;

/** The names under which the participants may state the lock of a rule. */
type KeysOf<T> = T extends { readonly of: infer O extends string; readonly lock: infer L extends string }
  ? O | `${O}.${L}` | (T extends { readonly variant: infer V extends string } ? `${O}/${V}` : never)
  : never;

/** The lock of the rules that such a name stands for. */
type LockAt<T, K> = T extends { readonly lock: infer L } ? (K extends KeysOf<T> ? L : never) : never;

/**
 * The participants of one row: its own roles, each with the lock that its rules speak of, so that a role that the row does not know is a
 * type error. Of a row that is not known when this is compiled, any.
 */
export type ParticipantsOf<R extends Row> = {
  readonly [K in KeysOf<R['rules'][number]>]?: { readonly name: LockAt<R['rules'][number], K> } | undefined;
};

/** Any lock, or any of one name, as far as checks need it. */
export interface LockRef<L extends LockName = LockName> {
  readonly name: L;
}

/**
 * What only the result tells: the lock that the operation returned with, or which variant of a rule applies. Called once, when the operation has
 * succeeded; what it returns is added to the participants.
 */
export type Outcome<T> = (result: T) => Participants;

const NOTHING: Participants = {};

/** A lock that can be taken in both modes. */
interface ReadWriteLock<L extends LockName> extends LockRef {
  readonly name: L;
  read(task: Task, subclass?: number, options?: LockOptions): Awaitable<Held<L, 'read'>>;
  write(task: Task, subclass?: number, options?: LockOptions): Awaitable<Held<L, 'write'>>;
}

/** Participants in the roles that most rows have. */
interface CommonRoles {
  readonly inode?: LockRef;
  readonly folio?: LockRef;
  readonly dir?: LockRef;
  readonly mapping?: LockRef;
  readonly mm?: LockRef;
  readonly sb?: LockRef;
}

/**
 * The lock that the participants state for a rule. The roles that most rows have are named one by one: a property that is known when this is compiled
 * costs a tenth of one that is not.
 */
function statedBy(participants: Participants, check: RuleCheck): LockRef | undefined {
  const common: CommonRoles = participants;
  switch (check.role) {
    case ROLES.inode:
      return common.inode;
    case ROLES.folio:
      return common.folio;
    case ROLES.dir:
      return common.dir;
    case ROLES.mapping:
      return common.mapping;
    case ROLES.mm:
      return common.mm;
    case ROLES.sb:
      return common.sb;
    default:
      return participants[check.key];
  }
}

/** Check what must be held at the call. @returns how many of the locks held now are to be held at the return as well */
function checkCall(task: Task, checks: RowChecks, participants: Participants): number {
  const { atCall, groups } = checks;
  let kept = task.held.length;
  for (let i = 0; i < atCall.length; i++) {
    const check = atCall[i];
    if (check === undefined) break;
    const lock = statedBy(participants, check);
    if (lock === undefined) continue;
    const held = heldBy(task, lock);
    if (check.released && held !== undefined) kept--;
    if (!meets(check, held)) brokenAtCall(task, checks.row, check, lock, held);
  }
  if (checks.ends) kept -= keptFor(checks, task.held).length;
  for (let i = 0; i < groups.length; i++) {
    const group = groups[i];
    if (group !== undefined) checkGroup(task, checks.row, group, participants);
  }
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
function watch(task: Task, checks: RowChecks, participants: Participants): LockWatch | undefined {
  const before = task.watch;
  for (const check of checks.takes) {
    const lock = statedBy(participants, check);
    if (lock?.name !== check.lock) continue;
    task.watch = { lock, write: check.want === WANT_WRITE, met: false, next: task.watch };
  }
  return before;
}

/** Operations that are called from outside any. */
const outermost = new Map<Row, OpNode>();

/** The one of them that was entered last. */
let latest: OpNode | undefined;

/** The node of an operation that is called from outside any, if it was before. */
function rootOf(row: Row): OpNode | undefined {
  if (latest?.row !== row) latest = outermost.get(row);
  return latest;
}

/** An operation is called on this path for the first time. */
function enter(parent: OpNode | undefined, row: Row): OpNode {
  const checks = checksOf(row);
  if (parent !== undefined) return parent.add(row, checks);
  const node = new OpNode(row, undefined, checks);
  outermost.set(row, node);
  return node;
}

/** The place of an operation among those under way, were the task to call it now. */
export function nodeOf(task: Task, row: Row): OpNode {
  const parent = task.op;
  return (parent === undefined ? rootOf(row) : parent.find(row)) ?? enter(parent, row);
}

/** 1 where the operation may not sleep in this case. */
function atomicOf(checks: RowChecks, participants: Participants): number {
  if (checks.atomicWith.length === 0) return checks.atomic;
  return checks.atomicWith.some((check) => statedBy(participants, check)?.name === check.lock) ? 1 : 0;
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
  const participants = stated as Participants;
  const { validator } = task;
  if (!validator.checking) return operation();
  const parent = task.op;
  const op = nodeOf(task, row);
  const checks = op.checks as RowChecks;
  const kept = checks.asks ? checkCall(task, checks, participants) : task.held.length;
  const mark = task.taken;
  const watching = checks.takes.length === 0 ? task.watch : watch(task, checks, participants);
  const atomic = atomicOf(checks, participants);
  op.calls++;
  task.op = op;
  task.atomic += atomic;
  if (validator.observer !== undefined) validator.observer.entered(task, row, participants);
  let result: Awaitable<T>;
  try {
    result = operation();
  } catch (error) {
    leave(task, op, atomic, mark, kept, watching, participants, undefined, operation);
    throw error;
  }
  if (!(result instanceof Promise)) {
    const told = outcome === undefined ? NOTHING : outcome(result);
    if (
      validator.observer === undefined &&
      task.watch === watching &&
      asTold(task, checks, mark, kept, participants, told)
    ) {
      task.atomic -= atomic;
      task.op = parent;
    } else leave(task, op, atomic, mark, kept, watching, participants, told, operation);
    return result;
  }
  if (atomic > 0) return notAwaited(result, task, op, atomic, watching, operation);
  return settled(result, task, op, atomic, mark, kept, watching, participants, outcome, operation);
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
  watching: LockWatch | undefined,
  operation: object,
): Promise<T> {
  result.catch(() => undefined);
  const broken = checkPromise(task, op, operation);
  task.atomic -= atomic;
  task.op = op.parent;
  task.watch = watching;
  const { observer } = task.validator;
  if (observer !== undefined) observer.left(task, op.row, broken !== undefined);
  if (broken !== undefined) throw broken;
  return result;
}

/**
 * Whether what is held at the return is what the row says, nothing but a glance: of what was taken nothing is still held, but for what the row says,
 * and of what was held everything, but for what it lets go.
 *
 * @param stated what only the result told, undefined where the operation failed: then it may not keep anything it took
 */
function asTold(
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
  return checks.released.length === 0 || allReleased(task, checks.released, participants, stated ?? NOTHING);
}

/** The end of an operation that had to wait. Apart, because its closures would cost every call an allocation. */
export function settled<T>(
  result: Promise<T>,
  task: Task,
  op: OpNode,
  atomic: number,
  mark: number,
  kept: number,
  watching: LockWatch | undefined,
  participants: Participants,
  outcome: Outcome<T> | undefined,
  operation: object,
): Promise<T> {
  // Whatever it waits for, others run meanwhile.
  const broken = task.atomic > 0 ? checkPromise(task, op, operation) : undefined;
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
