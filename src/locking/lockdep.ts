/**
 * The validator: follows what every task holds, learns in which order locks are taken, and turns a broken rule into a report, and into a failed system call
 * where the machine is strict. What is learned is in lockdep/; this is what the locks and the lock context call.
 */
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type {
  EnforceLevel,
  HeldLock,
  LockMode,
  LockObserver,
  TrackedLock,
  Validator,
  ViolationDetail,
  ViolationKind,
} from '../sched/validator.js';
import { SPINNING } from '../sched/wait.js';
import type { ChainNode } from './lockdep/chain.js';
import { EXCLUSIVE, type LockClass, READ, READ_RECURSIVE, type ReadState } from './lockdep/class.js';
import { type Fault, told } from './lockdep/fault.js';
import { Tracker, trace } from './lockdep/tracker.js';
import { type ReportedLock, type ViolationSink, violationKey } from './lockdep/violation.js';
import { describeTask, memberOf, type Sleeper, Waits } from './lockdep/waits.js';
import { undeclared } from './order.js';

export interface LockdepOptions {
  readonly stacks?: boolean;
  /** Milliseconds after which a task that sleeps is reported; 0, the default, for never. */
  readonly hungTask?: number;
  /** With the deep checks on, report an order that order.ts does not declare where it is seen first, whether or not anybody takes the locks the other way round. */
  readonly declared?: boolean;
  /** Finds where a function is written. @param name of the operation that it is, or calls */
  readonly locate?: Locate;
}

export type Locate = (operation: object, name: string) => string | undefined;

export class Lockdep implements Validator {
  #enforce: EnforceLevel = 'off';
  checking = false;
  stacks: boolean;
  /** How many violations were seen, repeated ones included. */
  total = 0;
  /** Measure how long locks are held (lock_stat); costs two clock readings a lock. */
  holdTimes = false;
  observer: LockObserver | undefined;
  readonly tracker = new Tracker((task, fault) => this.#fault(task, fault));
  readonly waits: Waits;
  readonly #sink: ViolationSink;
  readonly #locate: Locate | undefined;
  readonly #seen = new Map<string, number>();
  /** A report is under way: what it does itself is not reported. */
  #quiet = false;

  constructor(enforce: EnforceLevel, sink: ViolationSink, options: LockdepOptions = {}) {
    this.enforce = enforce;
    this.stacks = options.stacks ?? false;
    this.#sink = sink;
    this.#locate = options.locate;
    if (options.declared === true) this.tracker.onLearned = (task, before, after) => this.#learned(task, before, after);
    this.waits = new Waits(options.hungTask ?? 0, (sleeper) => this.#hung(sleeper));
  }

  get enforce(): EnforceLevel {
    return this.#enforce;
  }

  set enforce(level: EnforceLevel) {
    this.#enforce = level;
    this.checking = level !== 'off';
  }

  acquire(task: Task, lock: TrackedLock, mode: LockMode, subclass: number, nest?: object): object | undefined {
    return this.checking ? this.tracker.acquire(task, lock, mode, subclass, nest) : undefined;
  }

  acquired(task: Task, held: HeldLock, trying: boolean, chain?: object): void {
    if (!this.checking) return;
    if (chain === undefined) {
      const fault = this.tracker.acquired(task, held, readOf(task, held), trying);
      // Whoever has tried for it has it already.
      if (fault !== undefined) this.#quietly(() => this.#fault(task, fault));
    } else this.tracker.goOn(task, held, chain as ChainNode);
    if (this.holdTimes) held.since = task.sched.monotonic();
    if (this.observer !== undefined) this.observer.taken(task, held);
    if (!this.stacks || !SPINNING.has(held.key.kind)) return;
    const told = task.toldAsleep;
    queueMicrotask(() => this.#stillHeld(task, held, told));
  }

  /** Whoever took a spinning lock gives it back before anybody else runs. Asked only with the deep checks on: it takes a turn of the event loop. @param told the task's toldAsleep as it took the lock */
  #stillHeld(task: Task, held: HeldLock, told: number): void {
    if (!task.held.includes(held) || task.toldAsleep !== told) return;
    task.toldAsleep++;
    const { row } = task;
    const { stack } = held;
    this.#quietly(() =>
      this.violation(task, 'sleep-in-atomic', {
        message: `${held.name} is still held when others run: whoever took it here waits for a promise`,
        rule: 'spinlock#holder-may-not-sleep',
        lock: held.name,
        held: [...task.held],
        ...(row === undefined ? {} : { row }),
        ...(stack === undefined ? {} : { stack }),
      }),
    );
  }

  released(task: Task, held: HeldLock, last: boolean): void {
    if (held.link === 0) return;
    if (held.since > 0) this.#held(task, held);
    if (this.observer !== undefined) this.observer.dropped(task, held);
    if (last) task.chain = held.before;
    else this.#quietly(() => this.tracker.released(task));
  }

  completionsOn(task: Task): void {
    if (this.enforce !== 'off') this.#quietly(() => this.tracker.completionsOn(task));
  }

  contended(_task: Task, lock: TrackedLock, mode: LockMode, subclass: number, waited: number): void {
    const cls = this.tracker.classOf(lock.key.id, subclass);
    (mode === 'write' ? cls.write : cls.read).waits.add(waited);
  }

  sleeping(task: Task, blockers: (() => readonly Task[]) | undefined, interruptible: boolean): void {
    const circle = this.waits.add(task, blockers, interruptible);
    if (this.observer !== undefined) this.observer.slept(task);
    if (circle === undefined) return;
    const members = circle.map(memberOf);
    this.violation(task, 'deadlock', {
      message: `${members.length} ${members.length === 1 ? 'task waits' : 'tasks wait'} for each other: ${circle.map(({ task }) => describeTask(task)).join(', ')}`,
      rule: 'lockdep#nobody-waits-in-a-circle',
      held: [...task.held],
      circle: members,
      ...(task.row === undefined ? {} : { row: task.row }),
    });
    throw errno('EDEADLK', task.waitingFor?.what);
  }

  awake(task: Task): void {
    this.waits.remove(task);
    if (this.observer !== undefined) this.observer.woke(task);
  }

  asleep(): Iterable<Task> {
    return this.waits.sleepers.keys();
  }

  violation(task: Task | undefined, kind: ViolationKind, detail: ViolationDetail): void {
    if (this.enforce === 'off') return;
    this.total++;
    const row = detail.row === undefined ? undefined : `${detail.row.section}.${detail.row.op}`;
    const key = violationKey({ kind, rule: detail.rule, row, lock: detail.lock, message: detail.message });
    const seen = this.#seen.get(key) ?? 0;
    this.#seen.set(key, seen + 1);
    // Each distinct violation is reported once, then at every power of two, so that a storm does not hide the rest.
    if ((seen & (seen - 1)) === 0) {
      const implementation =
        detail.operation === undefined ? undefined : this.#locate?.(detail.operation, detail.row?.op ?? '');
      this.#sink({
        kind,
        message: detail.message,
        rule: detail.rule,
        row,
        lock: detail.lock,
        task: task === undefined ? undefined : { id: task.id, comm: task.comm, pid: task.pid, syscall: task.syscall },
        ops: task?.ops.map((op) => `${op.section}.${op.op}`) ?? [],
        held: (detail.held ?? []).map((held) => this.#describe(held)),
        ...(detail.order === undefined ? {} : { order: detail.order }),
        ...(detail.circle === undefined ? {} : { circle: detail.circle }),
        ...(implementation === undefined ? {} : { implementation }),
        stack: detail.stack ?? stackOf(task, detail.message),
        seen,
      });
    }
    if ((this.enforce === 'error' || this.enforce === 'panic') && !this.#quiet) {
      throw errno(DEADLOCKS.has(kind) ? 'EDEADLK' : 'EIO', detail.message);
    }
  }

  #fault(task: Task, fault: Fault): void {
    this.violation(task, fault.kind, {
      message: fault.message,
      rule: fault.rule,
      lock: fault.lock.key.name,
      held: [...task.held],
      order: fault.evidence,
      ...(task.row === undefined ? {} : { row: task.row }),
    });
  }

  /** Each distinct violation with how often it was seen. */
  counts(): ReadonlyMap<string, number> {
    return this.#seen;
  }

  #describe(held: HeldLock): ReportedLock {
    const exact = held.stack;
    const stack = exact ?? told(this.tracker.traceOf(held)).stack;
    return {
      lock: held.name,
      class: held.link === 0 ? held.name : this.tracker.className(held),
      mode: held.mode,
      takenIn: held.takenIn === undefined ? 'no operation' : `${held.takenIn.section}.${held.takenIn.op}`,
      ...(stack === '' ? {} : { stack }),
      ...(stack === '' || exact !== undefined ? {} : { firstTime: true }),
    };
  }

  #held(task: Task, held: HeldLock): void {
    const cls = this.tracker.classOfHeld(held);
    (held.exclusive ? cls.write : cls.read).holds.add(task.sched.monotonic() - held.since);
  }

  /** One class was taken under another for the first time. It is told of only: what is wrong may be the declaration. */
  #learned(task: Task, before: LockClass, after: LockClass): void {
    if (!this.stacks || undeclared([{ before: before.name, after: after.name }]).length === 0) return;
    this.#quietly(() =>
      this.violation(task, 'lock-order', {
        message: `${after.name} is taken while ${before.name} is held, and no such order is declared`,
        rule: 'order#declared',
        lock: after.key.name,
        held: [...task.held],
        ...(task.row === undefined ? {} : { row: task.row }),
      }),
    );
  }

  /** Report, but let nothing fail: who gives a lock back must get rid of it. */
  #quietly(check: () => void): void {
    const before = this.#quiet;
    this.#quiet = true;
    try {
      check();
    } finally {
      this.#quiet = before;
    }
  }

  #hung(sleeper: Sleeper): void {
    const { task, blockers } = sleeper;
    const members = [memberOf(sleeper)];
    for (const blocker of blockers?.() ?? []) {
      const asleep = this.waits.sleepers.get(blocker);
      members.push(
        asleep === undefined
          ? {
              task: describeTask(blocker),
              waitsFor: 'nothing',
              held: blocker.held.map((held) => `${held.name} (${held.mode})`),
              stack: '',
            }
          : memberOf(asleep),
      );
    }
    const held =
      members.length === 1
        ? 'nobody is known to have it'
        : `held by ${members
            .slice(1)
            .map((member) => member.task)
            .join(', ')}`;
    this.#quietly(() =>
      this.violation(task, 'hung-task', {
        message: `${describeTask(task)} has slept for ${Math.round((task.sched.monotonic() - sleeper.since) / 1000)} s, waiting for ${task.waitingFor?.what ?? 'an event'}: ${held}`,
        rule: 'task#goes-on',
        held: [...task.held],
        circle: members,
        ...(task.row === undefined ? {} : { row: task.row }),
      }),
    );
  }
}

/** Violations for which the system call fails with EDEADLK. */
const DEADLOCKS: ReadonlySet<ViolationKind> = new Set(['lock-order', 'lock-usage', 'double-lock', 'deadlock']);

/** Readers of sequence locks and of RCU come in whoever waits; the others queue behind writers, but for those of spinning locks in completions. */
function readOf(task: Task, held: HeldLock): ReadState {
  if (held.exclusive) return EXCLUSIVE;
  const { kind } = held.key;
  return kind === 'rwsem' || (kind === 'rwlock' && task.context === 'process') ? READ : READ_RECURSIVE;
}

function stackOf(task: Task | undefined, message: string): string {
  if (task === undefined) return new Error(message).stack ?? '';
  return trace(task).error.stack ?? '';
}
