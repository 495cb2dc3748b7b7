/**
 * Weakens one rule in the running code. It watches what happens as the lock trace does, and at each call of the mutant's operation it gives the lock back,
 * takes it in another way, or keeps it: for real, so that others can come in, or must wait.
 */
import { type LockRule, NEVER_SLEEP, type Row } from '../../src/contract/row.js';
import type { Held } from '../../src/locking/held.js';
import type { Task } from '../../src/sched/task.js';
import type { HeldLock, LockObserver } from '../../src/sched/validator.js';
import { might_sleep } from '../../src/sched/wait.js';
import type { Mutant } from './mutants.js';
import {
  type AnyLock,
  again,
  belongsTo,
  forget,
  giveBack,
  guardOf,
  heldAs,
  lockOf,
  type Participants,
  restore,
  retake,
  share,
  shutsCompletionsOut,
  takeAgain,
  type Weakened,
} from './weaken.js';

/** A call of the mutant's operation. */
interface Frame {
  readonly task: Task;
  readonly participants: Participants;
  /** Whose lock it is, where the caller says so. */
  readonly lock: AnyLock | undefined;
  /** What the operation has taken, where it is that which takes the lock. */
  taken: Held | undefined;
  weakened: Weakened | undefined;
  /** Something has happened since the call, or since the lock was taken. */
  stirred: boolean;
  /** What the lock guards was touched since then. */
  touched: boolean;
}

export class Mutator implements LockObserver {
  /** How often the rule was weakened. */
  fired = 0;
  /** A sleep was planted where something besides the row forbids it. */
  forbiddenTwice = false;
  /** Who is late would have to wait for the lock, which cannot be done here: what comes after that says nothing. */
  lost = false;
  readonly #mutant: Mutant;
  readonly #rule: LockRule | undefined;
  readonly #frames: Frame[] = [];
  /** What it does itself is not observed. */
  #busy = false;

  constructor(mutant: Mutant) {
    this.#mutant = mutant;
    this.#rule = mutant.rule;
  }

  entered(task: Task, row: Row, participants: Participants): void {
    this.#stir(task);
    if (row !== this.#mutant.row || this.#busy) return;
    const lock = this.#rule === undefined ? undefined : lockOf(this.#rule, participants);
    const frame = { task, participants, lock, taken: undefined, weakened: undefined, stirred: false, touched: false };
    this.#frames.push(frame);
    this.#quietly(() => this.#atCall(frame));
  }

  left(task: Task, row: Row): void {
    this.#stir(task);
    if (row !== this.#mutant.row || this.#busy) return;
    const at = this.#frames.findLastIndex((frame) => frame.task === task);
    const frame = this.#frames[at];
    if (frame === undefined) return;
    frame.touched = true;
    // What has come of it until now counts, if nobody had to wait before.
    const { lost } = this;
    this.#stir(task);
    this.lost = lost;
    this.#frames.splice(at, 1);
    this.#quietly(() => this.#atReturn(frame));
  }

  taken(task: Task, held: HeldLock): void {
    if (this.#busy) return;
    const frame = this.#frameOf(task);
    this.#stir(task);
    if (frame === undefined || this.#rule?.heldBy !== 'operation' || held.name !== this.#rule.lock) return;
    // Where the caller does not say whose lock the operation is to take, the first of that name is meant.
    if ((frame.lock ?? held.lock) === held.lock) this.#quietly(() => this.#atAcquisition(frame, held as Held));
  }

  dropped(task: Task): void {
    this.#stir(task);
  }

  slept(task: Task): void {
    this.#stir(task);
  }

  woke(task: Task): void {
    this.#stir(task);
  }

  ended(): void {}

  /** What is late is still late when state is touched: the check of that comes next. */
  accessed(task: Task, _field: string, _write: boolean, lock: object): void {
    const frame = this.#frameOf(task);
    if (frame !== undefined && (frame.lock ?? frame.taken?.lock) === lock) frame.touched = true;
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

  #atCall(frame: Frame): void {
    const { way } = this.#mutant;
    const { task, lock } = frame;
    if (way === 'sleep planted') {
      if (this.#mayNotBlock(frame)) this.#sleep(task);
      return;
    }
    if (lock === undefined || this.#rule?.heldBy !== 'caller') return;
    if (way === 'held though it must not be') {
      this.#hold(frame, lock);
      return;
    }
    const guard = guardOf(task, lock);
    if (guard !== undefined) this.#weaken(frame, lock, guard);
  }

  /** Of a row that may block in some cases the others are known by a lock whose holder may not. */
  #mayNotBlock({ participants }: Frame): boolean {
    const { row } = this.#mutant;
    if (row.mayBlock === 'no') return true;
    return row.rules.some(
      (rule) => rule.mode !== 'none' && NEVER_SLEEP.has(rule.lock) && lockOf(rule, participants) !== undefined,
    );
  }

  /** @param guard by which the lock is held: by the caller, or by the operation since just now */
  #weaken(frame: Frame, lock: AnyLock, guard: Held): void {
    const { task } = frame;
    switch (this.#mutant.way) {
      case 'unlock forgotten':
        this.fired++;
        forget(task, guard);
        return;
      case 'order swapped':
        this.#swap(frame, guard);
        return;
      case 'wrong subclass':
        this.#onAnotherLevel(frame, guard);
        return;
      case 'shared for exclusive':
        this.fired++;
        frame.weakened = share(task, lock, guard);
        break;
      case 'not taken':
      case 'taken late':
        if (shutsCompletionsOut(task, lock)) return;
        this.fired++;
        frame.weakened = giveBack(task, lock, guard);
        break;
      default:
        return;
    }
    belongsTo(frame.weakened);
  }

  /** The operation goes on: what is late is taken now, what is dropped early goes. */
  #stir(task: Task): void {
    if (this.#busy) return;
    const frame = this.#frameOf(task);
    if (frame === undefined || frame.stirred) return;
    const ofTheOperation = this.#rule?.heldBy === 'operation';
    if (ofTheOperation && frame.taken === undefined) return;
    // What is late comes when the operation is at work already, or at its very end.
    if (this.#mutant.way === 'taken late' && !frame.touched) return;
    frame.stirred = true;
    this.#quietly(() => {
      if (this.#mutant.way === 'taken late' && frame.weakened !== undefined) {
        this.#takeLate(frame.weakened);
        frame.weakened = undefined;
      }
      if (this.#mutant.way === 'dropped early') this.#dropEarly(frame);
    });
  }

  #takeLate(weakened: Weakened): void {
    restore(weakened);
    if (weakened.now !== undefined || weakened.over) return;
    this.lost = true;
    Reflect.set(weakened.task.validator, 'enforce', 'off');
  }

  #dropEarly(frame: Frame): void {
    const { task } = frame;
    const lock = (frame.taken?.lock as AnyLock | undefined) ?? frame.lock;
    const guard = lock === undefined ? undefined : guardOf(task, lock);
    if (lock === undefined || guard === undefined || shutsCompletionsOut(task, lock)) return;
    this.fired++;
    frame.weakened = giveBack(task, lock, guard);
    belongsTo(frame.weakened);
  }

  #atReturn({ weakened, task }: Frame): void {
    if (weakened === undefined || this.#rule?.heldBy !== 'caller' || this.#rule.atReturn === 'released') return;
    const { way } = this.#mutant;
    if (way === 'held though it must not be') weakened.now?.release();
    // What is held in another way is held so until its owner gives it back.
    else if (weakened.now === undefined && task === weakened.task) restore(weakened);
  }

  #atAcquisition(frame: Frame, guard: Held): void {
    frame.taken = guard;
    frame.stirred = false;
    frame.touched = false;
    this.#weaken(frame, guard.lock as AnyLock, guard);
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
    frame.weakened = { task, lock, guard: held, at: 0, seq: 0, now: held, over: false };
  }

  /** Both, and what was taken after the first, are given back and taken again, the second first; then they are held as they were. */
  #swap({ task, participants }: Frame, second: Held): void {
    const { before } = this.#mutant;
    const sooner = before === undefined ? undefined : lockOf(before, participants);
    // Where nobody says whose it is, one of that name is meant.
    const first = sooner === undefined ? heldAs(task, before?.lock) : guardOf(task, sooner);
    if (first === undefined || first === second || task.held.indexOf(first) > task.held.indexOf(second)) return;
    const given = retake(
      task,
      first,
      (all) => [...all.filter(({ guard }) => guard === second), ...all.filter(({ guard }) => guard !== second)],
      ({ guard }) => guard.subclass,
    );
    if (given === undefined) return;
    this.fired++;
    for (const one of given) restore(one);
  }

  /** It, and what was taken after it, are given back and taken again, it on the level of another. */
  #onAnotherLevel(frame: Frame, guard: Held): void {
    const wrong = guard.subclass === 0 ? 1 : 0;
    const given = retake(
      frame.task,
      guard,
      (all) => all,
      (one) => (one.guard === guard ? wrong : one.guard.subclass),
    );
    if (given === undefined) return;
    this.fired++;
    for (const one of given) {
      if (one.guard !== guard) {
        restore(one);
        continue;
      }
      frame.weakened = one;
      one.now = again(one, guard.mode, wrong);
      belongsTo(one);
    }
  }
}
