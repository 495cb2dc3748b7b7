/**
 * The lock trace: for each request the operations called, the locks taken and dropped, and the waits, in order and with times. Recording is here;
 * how a trace looks is in trace-tree.ts and trace-chrome.ts.
 */
import type { Row } from '../contract/row.js';
import type { Task } from '../sched/task.js';
import type { HeldLock, LockObserver, TrackedLock } from '../sched/validator.js';

/** Something that happened in a request. */
export interface TraceEvent {
  /** Microseconds since the trace began. */
  readonly at: number;
  readonly what: 'enter' | 'leave' | 'take' | 'drop' | 'sleep' | 'wake' | 'access';
  /** The operation as `section.op`, the lock with its nesting level, what was waited for, or the field. */
  readonly name: string;
  /** For a lock: which one of its name it is, numbered as they appear. */
  readonly instance?: number;
  /** For a lock: how it is held; for a field: how it was touched. */
  readonly mode?: 'read' | 'write';
  /** For the end of an operation: it has thrown. */
  readonly failed?: boolean;
}

/** One request, from its first event to its end. */
export interface RequestTrace {
  readonly task: number;
  readonly comm: string;
  readonly pid: number;
  /** The system call or request. */
  readonly syscall: string;
  readonly events: readonly TraceEvent[];
}

export interface TraceOptions {
  /** Only requests of which this is true. */
  readonly wanted?: (task: Task) => boolean;
  /** Events of one request that are kept; what comes later is counted only. */
  readonly limit?: number;
}

/** Events of a request that are kept by default. */
const LIMIT = 10_000;

/** Records requests while it is the validator's observer. A request is handed on when its task ends. */
export class TraceRecorder implements LockObserver {
  readonly #emit: (request: RequestTrace) => void;
  readonly #wanted: (task: Task) => boolean;
  readonly #limit: number;
  readonly #open = new Map<Task, TraceEvent[]>();
  /** The numbers of locks, so that two of one name can be told apart; locks that are gone are forgotten. */
  readonly #numbers = new WeakMap<object, number>();
  readonly #counts = new Map<string, number>();
  readonly #disregarded = new WeakSet<Task>();
  #start: number | undefined;
  /** Events that were not kept. */
  lost = 0;

  /** @param emit gets each request when it has ended */
  constructor(emit: (request: RequestTrace) => void, options: TraceOptions = {}) {
    this.#emit = emit;
    this.#wanted = options.wanted ?? (() => true);
    this.#limit = options.limit ?? LIMIT;
  }

  entered(task: Task, row: Row): void {
    this.#add(task, { what: 'enter', name: `${row.section}.${row.op}` });
  }

  left(task: Task, row: Row, failed: boolean): void {
    this.#add(task, { what: 'leave', name: `${row.section}.${row.op}`, ...(failed ? { failed } : {}) });
  }

  taken(task: Task, held: HeldLock): void {
    if (this.#isWanted(task)) this.#add(task, { what: 'take', ...this.#lock(held) });
  }

  dropped(task: Task, held: HeldLock): void {
    if (this.#isWanted(task)) this.#add(task, { what: 'drop', ...this.#lock(held) });
  }

  slept(task: Task): void {
    this.#add(task, { what: 'sleep', name: task.waitingFor?.what ?? 'an event' });
  }

  woke(task: Task): void {
    this.#add(task, { what: 'wake', name: '' });
  }

  accessed(task: Task, field: string, write: boolean): void {
    this.#add(task, { what: 'access', name: field, mode: write ? 'write' : 'read' });
  }

  ended(task: Task): void {
    const events = this.#open.get(task);
    if (events === undefined) return;
    this.#open.delete(task);
    const { id, comm, pid, syscall } = task;
    this.#emit({ task: id, comm, pid, syscall, events });
  }

  /** Forget what a request has done so far, and record no more of it. */
  disregard(task: Task): void {
    this.#disregarded.add(task);
    this.#open.delete(task);
  }

  #isWanted(task: Task): boolean {
    return this.#open.has(task) || (this.#wanted(task) && !this.#disregarded.has(task));
  }

  #add(task: Task, event: Omit<TraceEvent, 'at'>): void {
    let events = this.#open.get(task);
    if (events === undefined) {
      if (!this.#isWanted(task)) return;
      events = [];
      this.#open.set(task, events);
    }
    if (events.length >= this.#limit) {
      this.lost++;
      return;
    }
    const now = task.sched.monotonic();
    this.#start ??= now;
    events.push({ at: Math.round((now - this.#start) * 1e6) / 1e3, ...event });
  }

  #lock(held: HeldLock): Pick<TraceEvent, 'name' | 'instance' | 'mode'> {
    const lock = held.lock as TrackedLock;
    let instance = this.#numbers.get(lock);
    if (instance === undefined) {
      instance = (this.#counts.get(held.name) ?? 0) + 1;
      this.#counts.set(held.name, instance);
      this.#numbers.set(lock, instance);
    }
    return { name: held.subclass === 0 ? held.name : `${held.name}/${held.subclass}`, instance, mode: held.mode };
  }
}
