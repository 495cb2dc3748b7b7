/** One case of the selftest: a scenario played by tasks on a validator that knows nothing yet, and what must come of it. */
import { Errno } from '../../sched/errno.js';
import { RealScheduler } from '../../sched/real.js';
import { Task } from '../../sched/task.js';
import type { ViolationKind } from '../../sched/validator.js';
import { task_end } from '../context.js';
import type { Held } from '../held.js';
import type { Violation } from '../lockdep/violation.js';
import { Lockdep } from '../lockdep.js';
import { type Compare, type Kind, type KindName, kindOf, type Subject, type TakeOptions } from './kinds.js';

/** What must be reported: nothing, or a violation of the first of these kinds, and none of any other kind than these. */
export type Expected = 'nothing' | readonly ViolationKind[];

export interface Case {
  readonly row: string;
  readonly column: KindName;
  readonly expected: Expected;
  run(stage: Stage): void | Promise<void>;
  /** Look closer at what was reported, once the kinds are right. @returns what is wrong about it; '' where nothing is */
  verify?(stage: Stage): string;
}

/** Where a scenario plays. */
export class Stage {
  readonly violations: Violation[] = [];
  readonly validator = new Lockdep('warn', (violation) => this.violations.push(violation));
  readonly #sched = new RealScheduler();
  readonly #subjects = new Map<string, Subject>();
  readonly #pool = new Map<string, object>();
  /** What the play's own task holds, by the subject's name, the newest last. */
  readonly #held: { readonly name: string; readonly guard: Held }[] = [];
  /** The task that plays where none is named. */
  readonly task = this.newTask();

  newTask(): Task {
    return new Task(this.#sched, this.validator, { comm: 'selftest' });
  }

  /** A task in completion context. */
  newCompletion(): Task {
    return new Task(this.#sched, this.validator, { comm: 'completion', context: 'completion' });
  }

  /** Let everything that can go on do so. */
  async settle(): Promise<void> {
    for (let i = 0; i < 20; i++) await this.#sched.yield();
  }

  /** The lock of that name: a letter for its class, a number for which of the class. */
  subject(kind: Kind, name: string, compare?: Compare): Subject {
    const id = `${kind.name} ${name}`;
    const known = this.#subjects.get(id);
    if (known !== undefined) return known;
    const fresh = kind.make(name.replace(/\d+$/, ''), name, this.#pool, compare);
    this.#subjects.set(id, fresh);
    return fresh;
  }

  /** Take a lock that must be free; a refusal (EDEADLK) is what some cases are after, and is let pass. */
  take(subject: Subject, task = this.task, options?: TakeOptions): Held | undefined {
    try {
      const got = subject.take(task, options);
      if (got instanceof Promise) throw new Error(`${subject.lock.name} was not free`);
      return got;
    } catch (error) {
      if (error instanceof Errno && error.code === 'EDEADLK') return undefined;
      throw error;
    }
  }

  /**
   * Play moves one after the other in the stage's own task: `A+` takes, `A-` drops, `A?` tries, `r:A+` names another kind than the column's. What is
   * not held any more is not dropped.
   */
  play(kind: Kind, moves: string, options?: TakeOptions): void {
    for (const move of moves.split(' ')) {
      const match = /^(?:(\w+):)?([A-Z]\d*)([-+?])$/.exec(move);
      if (match === null) throw new Error(`no such move: ${move}`);
      const [, other, name = '', what] = match;
      const own = other === undefined ? kind : kindOf(other as KindName);
      const id = `${own.name} ${name}`;
      if (what === '-') {
        const at = this.#held.findLastIndex((one) => one.name === id);
        if (at >= 0) for (const { guard } of this.#held.splice(at, 1)) guard.release();
        continue;
      }
      const subject = this.subject(own, name);
      const guard = what === '+' ? this.take(subject, this.task, options) : subject.tryTake?.(this.task);
      if (guard !== undefined) this.#held.push({ name: id, guard });
    }
  }

  /** Drop what the stage's own task still holds. */
  dropAll(): void {
    for (const { guard } of this.#held.splice(0).reverse()) guard.release();
  }
}

export interface Outcome {
  readonly row: string;
  readonly column: KindName;
  readonly ok: boolean;
  readonly expected: Expected;
  /** The kinds of what was reported. */
  readonly reported: readonly string[];
  /** Why it failed, in words; '' where it did not. */
  readonly why: string;
}

/** Play one case on a clean validator. */
export async function runCase(one: Case): Promise<Outcome> {
  const stage = new Stage();
  let why = '';
  try {
    const playing = one.run(stage);
    if (playing instanceof Promise) await playing;
    stage.dropAll();
    if (one.expected === 'nothing') task_end(stage.task);
  } catch (error) {
    why = error instanceof Error ? error.message : String(error);
  }
  const reported = stage.violations.map(({ kind }) => kind);
  if (why === '') why = judge(one.expected, reported);
  if (why === '') why = one.verify?.(stage) ?? '';
  return { row: one.row, column: one.column, ok: why === '', expected: one.expected, reported, why };
}

function judge(expected: Expected, reported: readonly ViolationKind[]): string {
  if (expected === 'nothing')
    return reported.length === 0 ? '' : `reported ${reported.join(', ')} where nothing is wrong`;
  const [first] = expected;
  if (first !== undefined && !reported.includes(first))
    return `reported ${reported.join(', ') || 'nothing'}, and not ${first}`;
  const strange = reported.filter((kind) => !expected.includes(kind));
  return strange.length === 0 ? '' : `reported ${strange.join(', ')}, which is not what is wrong`;
}
