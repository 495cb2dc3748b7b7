/** The validator: turns a broken rule into a report, and into a failed system call where the machine is strict. */
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { EnforceLevel, HeldLock, Validator, ViolationDetail, ViolationKind } from '../sched/validator.js';

/** One violation, complete, as the log and the control files show it. */
export interface Violation {
  readonly kind: ViolationKind;
  readonly message: string;
  /** The contract's rule, where the violation is of a row. */
  readonly rule: string | undefined;
  /** `section.op` of the row, where there is one. */
  readonly row: string | undefined;
  readonly lock: string | undefined;
  readonly task:
    | { readonly id: number; readonly comm: string; readonly pid: number; readonly syscall: string }
    | undefined;
  /** The operations under way, outermost first. */
  readonly ops: readonly string[];
  readonly held: readonly {
    readonly lock: string;
    readonly mode: string;
    readonly takenIn: string;
    readonly stack?: string;
  }[];
  /** The stack at the report. */
  readonly stack: string;
  /** How often this violation was seen before this one. */
  readonly seen: number;
}

/** Where violations go. */
export type ViolationSink = (violation: Violation) => void;

export class Lockdep implements Validator {
  enforce: EnforceLevel;
  stacks: boolean;
  /** How many violations were seen, repeated ones included. */
  total = 0;
  readonly #sink: ViolationSink;
  readonly #seen = new Map<string, number>();

  constructor(enforce: EnforceLevel, sink: ViolationSink, options: { readonly stacks?: boolean } = {}) {
    this.enforce = enforce;
    this.stacks = options.stacks ?? false;
    this.#sink = sink;
  }

  acquired(_task: Task, _held: HeldLock): void {}

  released(_task: Task, _held: HeldLock): void {}

  violation(task: Task | undefined, kind: ViolationKind, detail: ViolationDetail): void {
    if (this.enforce === 'off') return;
    this.total++;
    const row = detail.row === undefined ? undefined : `${detail.row.section}.${detail.row.op}`;
    const key = `${kind} ${detail.rule ?? ''} ${row ?? ''} ${detail.lock ?? ''} ${detail.message}`;
    const seen = this.#seen.get(key) ?? 0;
    this.#seen.set(key, seen + 1);
    // Each distinct violation is reported once, then at every power of two, so that a storm does not hide the rest.
    if ((seen & (seen - 1)) === 0 || seen === 0) {
      this.#sink({
        kind,
        message: detail.message,
        rule: detail.rule,
        row,
        lock: detail.lock,
        task: task === undefined ? undefined : { id: task.id, comm: task.comm, pid: task.pid, syscall: task.syscall },
        ops: task?.ops.map((op) => `${op.section}.${op.op}`) ?? [],
        held: (detail.held ?? []).map(describeHeld),
        stack: new Error(detail.message).stack ?? '',
        seen,
      });
    }
    if (this.enforce === 'error' || this.enforce === 'panic') {
      throw errno(kind === 'lock-order' || kind === 'double-lock' ? 'EDEADLK' : 'EIO', detail.message);
    }
  }
}

function describeHeld(held: HeldLock): Violation['held'][number] {
  const base = {
    lock: held.name,
    mode: held.mode,
    takenIn: held.takenIn === undefined ? 'no operation' : `${held.takenIn.section}.${held.takenIn.op}`,
  };
  return held.stack === undefined ? base : { ...base, stack: held.stack };
}
