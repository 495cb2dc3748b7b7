/** The scheduler that runs for real: promises for tasks, the machine's clocks, Node's timers. */
import type { Awaitable, Given } from './awaitable.js';
import { coarseTime, realtime, stampTime } from './clock.js';
import type { Scheduler, Timer } from './scheduler.js';
import { EPOCH, type Timespec, timespecCompare } from './time.js';

/** Milliseconds that Node can count, 24 days: what is longer fires at once there. */
const MAX_TIMEOUT = 2 ** 31 - 1;

export interface RealSchedulerOptions {
  /**
   * Milliseconds for which tasks may run before one that yields lets Node's event loop have a turn: without one, no timer fires, no I/O completes, and no new request
   * is taken, however often tasks yield to each other. If left out they run until all of them wait: then what they do depends on no clock.
   */
  readonly slice?: number;
}

export class RealScheduler implements Scheduler {
  readonly #slice: number;
  /** When a task last came back from a turn of the event loop, in milliseconds. */
  #turned = 0;
  #turning = 0;
  #runnable = 0;
  /** The last tick that was asked for. */
  #tick: Timespec = EPOCH;
  /** The last time that the kernel would have stamped files with. */
  #stamp: Timespec = EPOCH;
  /** No task has begun since that was asked for: what the kernel has stamped before a request was seen. */
  #stamped = false;

  constructor(options?: RealSchedulerOptions) {
    this.#slice = options?.slice ?? Number.POSITIVE_INFINITY;
  }

  get runnable(): number {
    return this.#runnable;
  }

  get wantsTurn(): boolean {
    return this.#turning > 0;
  }

  realtime(): Timespec {
    return realtime();
  }

  coarse(): Timespec {
    this.#tick = coarseTime(this.#tick);
    return this.#tick;
  }

  stamp(): Timespec {
    const tick = this.coarse();
    if (!this.#stamped) {
      this.#stamp = stampTime(this.#stamp);
      this.#stamped = true;
    }
    return timespecCompare(tick, this.#stamp) > 0 ? tick : this.#stamp;
  }

  monotonic(): number {
    return performance.now();
  }

  random(): number {
    return Math.random();
  }

  timer(delay: number, fire: () => void, options?: { readonly background?: boolean }): Timer {
    let handle: NodeJS.Timeout;
    const arm = (left: number): void => {
      handle = left > MAX_TIMEOUT ? setTimeout(() => arm(left - MAX_TIMEOUT), MAX_TIMEOUT) : setTimeout(fire, left);
      if (options?.background === true) handle.unref();
    };
    arm(delay);
    return { cancel: () => clearTimeout(handle) };
  }

  run<T, G extends Given>(body: (...given: G) => Awaitable<T>, ...given: G): Awaitable<T>;
  run<T>(
    body: (a?: unknown, b?: unknown, c?: unknown, d?: unknown, e?: unknown) => Awaitable<T>,
    a?: unknown,
    b?: unknown,
    c?: unknown,
    d?: unknown,
    e?: unknown,
  ): Awaitable<T> {
    this.#runnable++;
    this.#stamped = false;
    let result: Awaitable<T>;
    try {
      result = body(a, b, c, d, e);
    } catch (error) {
      this.#runnable--;
      throw error;
    }
    if (!(result instanceof Promise)) {
      this.#runnable--;
      return result;
    }
    return this.#runnableUntil(result);
  }

  #runnableUntil<T>(result: Promise<T>): Promise<T> {
    return result.finally(() => {
      this.#runnable--;
    });
  }

  block(): void {
    this.#runnable--;
  }

  unblock(): void {
    this.#runnable++;
  }

  async external<T>(work: Promise<T>): Promise<T> {
    this.#runnable--;
    try {
      return await work;
    } finally {
      this.#runnable++;
    }
  }

  async yield(): Promise<void> {
    if (this.#slice === Number.POSITIVE_INFINITY || performance.now() - this.#turned < this.#slice) {
      await undefined;
      return;
    }
    this.#turning++;
    await new Promise(setImmediate);
    this.#turning--;
    this.#turned = performance.now();
  }
}
