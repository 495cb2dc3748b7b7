/** What is done to a lock behind its owner's back: it is given back, shared, taken on another level or in another order, or kept for ever. */
import type { LockName, LockRule } from '../../src/contract/row.js';
import { Held, type Releasable } from '../../src/locking/held.js';
import { LINK_TRY } from '../../src/locking/lockdep/chain.js';
import type { LockClassKey } from '../../src/locking/lockdep/class.js';
import type { Task } from '../../src/sched/task.js';
import type { HeldLock } from '../../src/sched/validator.js';

export type Participants = Readonly<Record<string, object | undefined>>;

/** What locks of all kinds have of this. */
export interface AnyLock extends Releasable {
  readonly name: LockName;
  readonly key: LockClassKey<LockName>;
  /** Somebody waits for it. */
  readonly isContended?: boolean;
  /** A seqlock's. */
  begin?(): number;
  /** A spinlock's. */
  lockIrq?(task: Task): unknown;
  read?(task: Task, subclass?: number): unknown;
  tryRead?(task: Task, subclass?: number): Held | undefined;
  tryWrite?(task: Task, subclass?: number): Held | undefined;
  tryLock?(task: Task, subclass?: number): Held | undefined;
  downgrade?(held: Held): Held;
}

/** A lock that is not as its owner believes. */
export interface Weakened {
  readonly task: Task;
  readonly lock: AnyLock;
  /** The owner's guard, and its place among the locks held. */
  readonly guard: Held;
  readonly at: number;
  readonly seq: number;
  /** What is held in its place. */
  now: Held | undefined;
  /** The owner has given back what it believed to have. */
  over: boolean;
}

/** The lock that the caller has stated for a rule. */
export function lockOf(rule: LockRule, participants: Participants): AnyLock | undefined {
  const keys = [`${rule.of}/${rule.variant ?? ''}`, rule.of, `${rule.of}.${rule.lock}`];
  for (const key of keys) {
    const lock = participants[key];
    if (lock !== undefined && (lock as { name?: string }).name === rule.lock) return lock as AnyLock;
  }
  return undefined;
}

export function guardOf(task: Task, lock: object): Held | undefined {
  return task.held.findLast((held) => held.lock === lock) as Held | undefined;
}

/** The guard of the last lock of that name. */
export function heldAs(task: Task, name: LockName | undefined): Held | undefined {
  return task.held.findLast((held) => held.name === name) as Held | undefined;
}

/** A spinlock that is held with completions off cannot be given back without switching them on. */
export function shutsCompletionsOut(task: Task, lock: AnyLock): boolean {
  return task.context === 'process' && task.completionsOff > 0 && lock.lockIrq !== undefined;
}

/** The guard gives nothing back. Also what is reported of that at the return is told again at the end of the task. */
export function forget(task: Task, guard: Held): void {
  Object.defineProperty(task, 'excused', { get: () => new WeakSet(), set: () => undefined });
  for (const way of ['release', Symbol.dispose]) Reflect.set(guard, way, () => undefined);
  const lock = guard.lock as AnyLock;
  const downgrade = lock.downgrade?.bind(lock);
  if (downgrade === undefined) return;
  Reflect.set(lock, 'downgrade', (held: Held) => {
    const shared = downgrade(held);
    if (held === guard) forget(task, shared);
    return shared;
  });
}

/** Give a lock back without its owner's knowledge. */
export function giveBack(task: Task, lock: AnyLock, guard: Held): Weakened {
  const at = task.held.indexOf(guard);
  task.held.splice(at, 1);
  task.validator.released(task, guard, false);
  guard.link = 0;
  lock.release(guard);
  guard.released = true;
  return { task, lock, guard, at, seq: guard.seq, now: undefined, over: false };
}

/** Share what was held alone. Where the lock can, nobody comes in between: who waits to have it alone goes on waiting. */
export function share(task: Task, lock: AnyLock, guard: Held): Weakened {
  if (lock.downgrade === undefined) throw new Error(`${lock.name} cannot be shared`);
  const at = task.held.indexOf(guard);
  const weakened: Weakened = { task, lock, guard, at, seq: guard.seq, now: undefined, over: false };
  weakened.now = inPlace(weakened, lock.downgrade(guard));
  guard.link = 0;
  return weakened;
}

/** Take it again, if that needs no wait, in the owner's place. */
export function again(weakened: Weakened, mode: 'read' | 'write', subclass: number): Held | undefined {
  const held = takeAgain(weakened.task, weakened.lock, mode, subclass);
  return held === undefined ? undefined : inPlace(weakened, held);
}

/** What was taken last goes to the owner's place among the locks held, and what was taken after it is chained anew. */
function inPlace({ task, at, seq }: Weakened, held: Held): Held {
  task.held.pop();
  task.held.splice(Math.min(at, task.held.length), 0, held);
  held.seq = seq;
  task.validator.released(task, held, false);
  return held;
}

/** Without a wait, and without an order: read sections of RCU and of seqlocks never wait. */
export function takeAgain(task: Task, lock: AnyLock, mode: 'read' | 'write', subclass: number): Held | undefined {
  if (lock.begin !== undefined && mode === 'read') return section(task, lock, subclass);
  if (lock.tryLock !== undefined) return lock.tryLock(task, subclass);
  if (lock.tryRead !== undefined) {
    return mode === 'read' ? lock.tryRead(task, subclass) : lock.tryWrite?.(task, subclass);
  }
  return withoutOrder(task, () => lock.read?.(task, subclass) as Held | undefined);
}

/** In the middle of what is read under a seqlock: as its `read` enters a section. */
function section(task: Task, lock: AnyLock, subclass: number): Held {
  const held = new Held(lock.key, lock, 'read', task, subclass);
  task.atomic++;
  task.validator.acquired(task, held, true);
  return held;
}

/** A section of RCU can be entered anywhere: that it is entered here and not further out is the mutation's doing, and says nothing about the mutant. */
function withoutOrder<T>(task: Task, body: () => T): T {
  const { validator } = task;
  const asTried = {
    stacks: validator.stacks,
    acquire: () => undefined,
    acquired: (one: Task, held: HeldLock) => validator.acquired(one, held, true),
  };
  Reflect.set(task, 'validator', asTried);
  try {
    return body();
  } finally {
    Reflect.set(task, 'validator', validator);
  }
}

/** The owner has again what it believes to have, unless it is through with it; where somebody else was faster it has less, or nothing. */
export function restore(weakened: Weakened): void {
  const { guard, now, over } = weakened;
  if (over) return;
  now?.release();
  weakened.now = again(weakened, guard.mode, guard.subclass);
  belongsTo(weakened);
}

/** The owner gives back what is held in the place of its own when it believes to give back that. */
export function belongsTo(weakened: Weakened): void {
  const { guard, now } = weakened;
  guard.released = now === undefined || now.released;
  const release = (): void => {
    weakened.over = true;
    guard.released = true;
    if (now !== undefined && !now.released) now.release();
  };
  Reflect.set(guard, 'release', release);
  Reflect.set(guard, Symbol.dispose, release);
}

/**
 * Give back a lock and all that were taken after it, and take them anew: in another order, or one of them on another level. The validator is asked each
 * time, as it is of who takes them so. Nothing of it is held afterwards.
 * @param order the locks as they are to be taken, of what it is given: as they were taken
 * @returns those that were given back, as they were taken; undefined where that is not possible without letting somebody else in
 */
export function retake(
  task: Task,
  bottom: Held,
  order: (given: Weakened[]) => Weakened[],
  level: (one: Weakened) => number,
): Weakened[] | undefined {
  const guards = task.held.slice(task.held.indexOf(bottom)) as Held[];
  const locks = guards.map(({ lock }) => lock as AnyLock);
  if (locks.some((lock) => lock.isContended === true || shutsCompletionsOut(task, lock) || !canTake(lock))) {
    return undefined;
  }
  // Whoever has tried a lock does not wait for it in the other order either.
  const tried = new Set(guards.filter(({ link }) => (link & LINK_TRY) !== 0));
  const given = guards
    .toReversed()
    .map((guard) => giveBack(task, guard.lock as AnyLock, guard))
    .toReversed();
  const taken = order(given);
  for (const one of taken) {
    const { lock, guard } = one;
    const mode = guard.mode === 'read' && lock.key.kind !== 'rwsem' ? 'read recursive' : guard.mode;
    if (!tried.has(guard)) task.validator.acquire(task, lock, mode, level(one));
    one.now = takeAgain(task, lock, guard.mode, level(one));
  }
  for (const one of taken.toReversed()) {
    one.now?.release();
    one.now = undefined;
  }
  return given;
}

function canTake({ begin, read, tryRead, tryLock }: AnyLock): boolean {
  return begin !== undefined || read !== undefined || tryRead !== undefined || tryLock !== undefined;
}
