/**
 * Weakens one rule in the running code. It watches what happens as the lock trace does, and at each call of the mutant's operation it gives the lock back,
 * takes it in another way, or keeps it: for real, so that others can come in, or must wait.
 */
import type { LockName, LockRule, Row } from '../../src/contract/row.js';
import { Held, type Releasable } from '../../src/locking/held.js';
import type { LockClassKey } from '../../src/locking/lockdep/class.js';
import type { Task } from '../../src/sched/task.js';
import type { HeldLock, LockObserver } from '../../src/sched/validator.js';
import { might_sleep } from '../../src/sched/wait.js';
import type { Mutant } from './mutants.js';

type Participants = Readonly<Record<string, object | undefined>>;

/** What locks of all kinds have of this. */
interface AnyLock extends Releasable {
  readonly key: LockClassKey<LockName>;
  /** A seqlock's. */
  begin?(): number;
  /** A spinlock's. */
  lockIrq?(task: Task): unknown;
  read?(task: Task, subclass?: number): unknown;
  write?(task: Task, subclass?: number): unknown;
  lock?(task: Task, subclass?: number): unknown;
  tryRead?(task: Task, subclass?: number): Held | undefined;
  tryWrite?(task: Task, subclass?: number): Held | undefined;
  tryLock?(task: Task, subclass?: number): Held | undefined;
}

/** A lock that is not as its owner believes. */
interface Weakened {
  readonly task: Task;
  readonly lock: AnyLock;
  /** The owner's guard, and its place among the locks held. */
  readonly guard: Held;
  readonly at: number;
  readonly seq: number;
  /** What is held in its place. */
  now: Held | undefined;
}

/** A call of the mutant's operation. */
interface Frame {
  readonly task: Task;
  readonly lock: AnyLock | undefined;
  weakened: Weakened | undefined;
  /** Something has happened since the call. */
  stirred: boolean;
}

export class Mutator implements LockObserver {
  /** How often the rule was weakened. */
  fired = 0;
  /** A sleep was planted where something besides the row forbids it. */
  forbiddenTwice = false;
  readonly #mutant: Mutant;
  readonly #frames: Frame[] = [];
  /** What it does itself is not observed. */
  #busy = false;

  constructor(mutant: Mutant) {
    this.#mutant = mutant;
  }

  entered(task: Task, row: Row, participants: Participants): void {
    this.#stir(task);
    if (row !== this.#mutant.row || this.#busy) return;
    const { rule, before } = this.#mutant;
    const lock = rule === undefined ? undefined : lockOf(rule, participants);
    const frame: Frame = { task, lock, weakened: undefined, stirred: false };
    this.#frames.push(frame);
    this.#quietly(() => this.#atCall(frame, before === undefined ? undefined : lockOf(before, participants)));
  }

  left(task: Task, row: Row): void {
    this.#stir(task);
    if (row !== this.#mutant.row || this.#busy) return;
    const at = this.#frames.findLastIndex((frame) => frame.task === task);
    const [frame] = at < 0 ? [] : this.#frames.splice(at, 1);
    if (frame !== undefined) this.#quietly(() => this.#atReturn(frame));
  }

  taken(task: Task, held: HeldLock): void {
    if (this.#busy) return;
    const frame = this.#frameOf(task);
    const { rule, way } = this.#mutant;
    // Where the caller does not say whose lock the operation is to take, the first of that name is meant.
    const meant = frame !== undefined && (frame.lock ?? held.lock) === held.lock && held.name === rule?.lock;
    if (meant && rule?.heldBy === 'operation') {
      this.#quietly(() => this.#atAcquisition(task, held as Held, way));
      return;
    }
    this.#stir(task);
  }

  dropped(task: Task): void {
    this.#stir(task);
  }

  /** What is late is later still where the operation sleeps: others get in. */
  slept(task: Task): void {
    if (this.#mutant.way !== 'taken late') this.#stir(task);
  }

  woke(task: Task): void {
    this.#stir(task);
  }

  ended(): void {}

  /** What is late is still late when state is touched: the check of that comes next. */
  accessed(task: Task): void {
    if (this.#mutant.way === 'dropped early') this.#stir(task);
  }

  #frameOf(task: Task): Frame | undefined {
    return this.#frames.findLast((frame) => frame.task === task);
  }

  #quietly(body: () => void): void {
    this.#busy = true;
    try {
      body();
    } finally {
      this.#busy = false;
    }
  }

  #atCall(frame: Frame, before: AnyLock | undefined): void {
    const { task, lock } = frame;
    const { way, rule } = this.#mutant;
    if (way === 'sleep planted') this.#sleep(task);
    if (lock === undefined || rule === undefined || rule.heldBy === 'operation') return;
    if (way === 'held though it must not be') this.#hold(frame, lock);
    else if (way === 'order swapped' && before !== undefined) this.#swap(task, before, lock);
    else this.#weaken(frame, lock);
  }

  #weaken(frame: Frame, lock: AnyLock): void {
    const { task } = frame;
    const { way } = this.#mutant;
    const guard = guardOf(task, lock);
    if (guard === undefined || shutsCompletionsOut(task, lock) || way === 'dropped early') return;
    this.fired++;
    if (way === 'unlock forgotten') {
      forget(task, guard);
      return;
    }
    frame.weakened = giveBack(task, lock, guard);
    if (way === 'shared for exclusive') frame.weakened.now = again(frame.weakened, 'read', guard.subclass);
    if (way === 'wrong subclass') {
      const wrong = guard.subclass === 0 ? 1 : 0;
      task.validator.acquire(task, lock as never, guard.mode, wrong);
      frame.weakened.now = again(frame.weakened, guard.mode, wrong);
    }
  }

  /** The operation goes on: what is late is taken now, what is dropped early goes. */
  #stir(task: Task): void {
    if (this.#busy) return;
    const frame = this.#frameOf(task);
    if (frame === undefined || frame.stirred) return;
    frame.stirred = true;
    const { way } = this.#mutant;
    this.#quietly(() => {
      if (way === 'taken late' && frame.weakened !== undefined) restore(frame.weakened);
      if (way === 'taken late') frame.weakened = undefined;
      const guard = frame.lock === undefined ? undefined : guardOf(task, frame.lock);
      if (way !== 'dropped early' || frame.lock === undefined || guard === undefined) return;
      if (shutsCompletionsOut(task, frame.lock)) return;
      this.fired++;
      frame.weakened = giveBack(task, frame.lock, guard);
    });
  }

  #atReturn({ weakened, task }: Frame): void {
    if (weakened === undefined) return;
    if (this.#mutant.rule?.atReturn === 'released') return;
    if (this.#mutant.way === 'held though it must not be') {
      weakened.now?.release();
      return;
    }
    if (task === weakened.task) restore(weakened);
  }

  #atAcquisition(task: Task, guard: Held, way: Mutant['way']): void {
    this.fired++;
    if (way === 'unlock forgotten') {
      forget(task, guard);
      return;
    }
    const weakened = giveBack(task, guard.lock as AnyLock, guard);
    if (way === 'shared for exclusive') weakened.now = again(weakened, 'read', guard.subclass);
    guard.released = weakened.now === undefined;
    Reflect.set(guard, 'release', () => {
      if (weakened.now !== undefined && !guard.released) weakened.now.release();
      guard.released = true;
    });
  }

  /** Only the row itself forbids to sleep: what else does? */
  #sleep(task: Task): void {
    this.fired++;
    task.atomic--;
    this.forbiddenTwice ||= task.atomic > 0;
    try {
      might_sleep(task, 'planted');
    } finally {
      task.atomic++;
    }
  }

  #hold(frame: Frame, lock: AnyLock): void {
    const { task } = frame;
    const held = takeAgain(task, lock, 'write', 0);
    if (held === undefined) return;
    this.fired++;
    frame.weakened = { task, lock, guard: held, at: 0, seq: 0, now: held };
  }

  /** Both are given back and taken the other way round. */
  #swap(task: Task, first: AnyLock, second: AnyLock): void {
    const guards = [first, second].map((lock) => guardOf(task, lock));
    const [a, b] = guards;
    if (a === undefined || b === undefined || first === second) return;
    this.fired++;
    const [later, sooner] = [giveBack(task, second, b), giveBack(task, first, a)];
    for (const one of [later, sooner]) {
      task.validator.acquire(task, one.lock as never, one.guard.mode, one.guard.subclass);
      one.now = again(one, one.guard.mode, one.guard.subclass);
    }
    for (const one of [sooner, later]) restore(one);
  }
}

/** A spinlock that is held with completions off cannot be given back without switching them on. */
function shutsCompletionsOut(task: Task, lock: AnyLock): boolean {
  return task.context === 'process' && task.completionsOff > 0 && lock.lockIrq !== undefined;
}

/** The guard gives nothing back. Also what is reported of that at the return is told again at the end of the task. */
function forget(task: Task, guard: Held): void {
  Object.defineProperty(task, 'excused', { get: () => new WeakSet(), set: () => undefined });
  Reflect.set(guard, 'release', () => undefined);
}

/** The lock that the caller has stated for a rule. */
function lockOf(rule: LockRule, participants: Participants): AnyLock | undefined {
  const keys = [`${rule.of}/${rule.variant ?? ''}`, rule.of, `${rule.of}.${rule.lock}`];
  for (const key of keys) {
    const lock = participants[key];
    if (lock !== undefined && (lock as { name?: string }).name === rule.lock) return lock as AnyLock;
  }
  return undefined;
}

function guardOf(task: Task, lock: object): Held | undefined {
  return task.held.findLast((held) => held.lock === lock) as Held | undefined;
}

/** Give a lock back without its owner's knowledge. */
function giveBack(task: Task, lock: AnyLock, guard: Held): Weakened {
  const at = task.held.indexOf(guard);
  task.held.splice(at, 1);
  task.validator.released(task, guard, false);
  guard.link = 0;
  lock.release(guard);
  guard.released = true;
  return { task, lock, guard, at, seq: guard.seq, now: undefined };
}

/** Take it again, if that needs no wait, in the owner's place. */
function again({ task, lock, at, seq }: Weakened, mode: 'read' | 'write', subclass: number): Held | undefined {
  const held = takeAgain(task, lock, mode, subclass);
  if (held === undefined) return undefined;
  task.held.pop();
  task.held.splice(Math.min(at, task.held.length), 0, held);
  held.seq = seq;
  return held;
}

/** Without a wait; read sections of RCU and of seqlocks never wait. */
function takeAgain(task: Task, lock: AnyLock, mode: 'read' | 'write', subclass: number): Held | undefined {
  if (lock.begin !== undefined && mode === 'read') return section(task, lock, subclass);
  if (lock.tryLock !== undefined) return lock.tryLock(task, subclass);
  if (lock.tryRead === undefined) return lock.read?.(task, subclass) as Held | undefined;
  return mode === 'read' ? lock.tryRead(task, subclass) : lock.tryWrite?.(task, subclass);
}

/** In the middle of what is read under a seqlock: as its `read` enters a section. */
function section(task: Task, lock: AnyLock, subclass: number): Held {
  const held = new Held(lock.key, lock, 'read', task, subclass);
  task.atomic++;
  task.validator.acquired(task, held, true);
  return held;
}

/** The owner has again what it believes to have; where somebody else was faster it has nothing to give back. */
function restore(weakened: Weakened): void {
  const { guard, now } = weakened;
  now?.release();
  const fresh = again(weakened, guard.mode, guard.subclass);
  guard.released = fresh === undefined;
  Reflect.set(guard, 'release', () => {
    if (guard.released) return;
    guard.released = true;
    fresh?.release();
  });
}
