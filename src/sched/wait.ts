/** Wait queues: the one way to block. */
import { NEVER_SLEEP, type Row } from '../contract/row.js';
import { errno, isErrno } from './errno.js';
import type { Timer } from './scheduler.js';
import type { Task } from './task.js';
import type { TrackedLock } from './validator.js';

export interface WaitOptions {
  /** A signal ends the wait with EINTR. */
  readonly interruptible?: boolean;
  /** A fatal signal does, and no other. */
  readonly killable?: boolean;
  /** Milliseconds after which the wait ends with ETIMEDOUT. */
  readonly timeout?: number;
  /** The lock waited for, for the wait-for graph and reports. */
  readonly lock?: object;
  /** In words, for reports. */
  readonly what?: string;
  /** Those who must do something before the wait can end, as far as that is known. */
  readonly blockers?: () => readonly Task[];
}

/**
 * Report a task that may not sleep and is about to; called at every possible wait, whether or not it would wait.
 * @param operation that does it and has returned
 */
export function might_sleep(task: Task, what: string, operation?: object): void {
  if (task.atomic === 0 || task.validator.enforce === 'off') return;
  const { row } = task;
  const [where, rule] = whyAtomic(task);
  task.toldAsleep++;
  task.validator.violation(task, 'sleep-in-atomic', {
    message: `may sleep (${what}) in ${task.context === 'completion' ? 'completion' : 'atomic'} context: ${where}`,
    rule,
    ...(row === undefined ? {} : { row }),
    held: [...task.held],
    ...(operation === undefined ? {} : { operation }),
  });
}

/** Kinds of locks whose holders may not sleep. */
export const SPINNING: ReadonlySet<string> = new Set(['spinlock', 'rwlock', 'seqlock', 'rcu']);

/** Of an operation that may block in some cases: the task holds a lock that its row names and whose holder may not sleep. */
function isAtomicCase(task: Task, row: Row): boolean {
  return row.rules.some(
    ({ lock, mode }) => mode !== 'none' && NEVER_SLEEP.has(lock) && task.held.some(({ name }) => name === lock),
  );
}

/** Why the task may not sleep, in words, and the rule that says so. */
function whyAtomic(task: Task): readonly [where: string, rule: string] {
  const row = task.ops.findLast(
    (row) => row.mayBlock === 'no' || (row.mayBlock === 'maybe' && isAtomicCase(task, row)),
  );
  if (row !== undefined) {
    const name = `${row.section}.${row.op}`;
    const when = row.mayBlock === 'maybe' ? ' in this case' : '';
    return [`${name} may not block${when}`, `${name}#may-not-block`];
  }
  if (task.context === 'completion') return ['it completes I/O', 'completion#may-not-block'];
  const spinning = task.held.filter(({ lock }) => SPINNING.has((lock as Partial<TrackedLock>).key?.kind ?? ''));
  if (spinning.length === 0) return ['sleeping is disabled', task.atomicRule ?? 'task#may-not-sleep'];
  return [`with ${spinning.map(({ name }) => name).join(', ')} held`, 'spinlock#holder-may-not-sleep'];
}

/** One task waiting. */
interface Waiter {
  readonly task: Task;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
  timer: Timer | undefined;
  done: boolean;
}

/** First come, first served. */
export class WaitQueue {
  /** Waiters in order of arrival; those that gave up are marked done and skipped. */
  #waiters: Waiter[] = [];

  /** True where nobody waits. */
  get empty(): boolean {
    return !this.#waiters.some((waiter) => !waiter.done);
  }

  /** The waiting tasks, for reports. */
  tasks(): Task[] {
    return this.#waiters.filter((waiter) => !waiter.done).map((waiter) => waiter.task);
  }

  /**
   * Sleep until woken.
   * @throws EINTR if interruptible and a signal is or becomes pending, if killable and a fatal one; ETIMEDOUT after the timeout.
   */
  wait(task: Task, options: WaitOptions = {}): Promise<void> {
    might_sleep(task, options.what ?? 'wait');
    const signals = options.interruptible === true || options.killable === true;
    if (signals && (options.interruptible === true ? task.signalled : task.killed))
      return Promise.reject(errno('EINTR'));
    task.waitingFor = { what: options.what ?? 'event', lock: options.lock };
    try {
      task.validator.sleeping(task, options.blockers, signals);
    } catch (error) {
      task.waitingFor = undefined;
      return Promise.reject(error);
    }
    return new Promise<void>((resolve, reject) => {
      const waiter: Waiter = { task, resolve, reject, timer: undefined, done: false };
      this.#waiters.push(waiter);
      if (signals) task.onInterrupt(() => this.#giveUp(waiter, 'EINTR'), options.interruptible !== true);
      if (options.timeout !== undefined) {
        waiter.timer = task.sched.timer(options.timeout, () => this.#giveUp(waiter, 'ETIMEDOUT'));
      }
      task.sched.block();
    });
  }

  /** Wake the longest waiting task. Returns it, or undefined where nobody waits. */
  wake_one(): Task | undefined {
    for (;;) {
      const waiter = this.#waiters.shift();
      if (waiter === undefined) return undefined;
      if (waiter.done) continue;
      this.#finish(waiter);
      waiter.resolve();
      return waiter.task;
    }
  }

  /** Wake everybody who waits now. */
  wake_all(): void {
    const waiters = this.#waiters;
    if (waiters.length === 0) return;
    this.#waiters = [];
    for (const waiter of waiters) {
      if (waiter.done) continue;
      this.#finish(waiter);
      waiter.resolve();
    }
  }

  #giveUp(waiter: Waiter, why: 'EINTR' | 'ETIMEDOUT'): void {
    if (waiter.done) return;
    this.#finish(waiter);
    const at = this.#waiters.indexOf(waiter);
    if (at >= 0) this.#waiters.splice(at, 1);
    waiter.reject(errno(why));
  }

  #finish(waiter: Waiter): void {
    waiter.done = true;
    waiter.timer?.cancel();
    waiter.task.onInterrupt(undefined);
    waiter.task.waitingFor = undefined;
    waiter.task.validator.awake(waiter.task);
    waiter.task.sched.unblock();
  }
}

/** Sleep on `queue` until `condition` holds (wait_event and its interruptible and timed forms). */
export async function wait_event(
  task: Task,
  queue: WaitQueue,
  condition: () => boolean,
  options: WaitOptions = {},
): Promise<void> {
  while (!condition()) await queue.wait(task, options);
}

/**
 * Sleep on `queue` until woken, or for so many milliseconds at most (sleep_on_timeout). @returns whether it was woken
 * @throws EINTR where a signal ends it, as WaitQueue.wait
 */
export async function sleep_on_timeout(
  task: Task,
  queue: WaitQueue,
  timeout: number,
  options: Omit<WaitOptions, 'timeout'> = {},
): Promise<boolean> {
  try {
    await queue.wait(task, { ...options, timeout });
    return true;
  } catch (error) {
    if (!isErrno(error, 'ETIMEDOUT')) throw error;
    return false;
  }
}

/** Sleep for so many milliseconds (schedule_timeout_uninterruptible). @param what in words, for reports */
export async function schedule_timeout(task: Task, timeout: number, what: string): Promise<void> {
  await sleep_on_timeout(task, new WaitQueue(), timeout, { what });
}
