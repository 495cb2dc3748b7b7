/** The scheduler that runs for real: promises for tasks, the machine's clocks, Node's timers. */
import type { Awaitable, Given } from './awaitable.js';
import type { Scheduler, Timer } from './scheduler.js';
import type { Timespec } from './time.js';

const NSEC_PER_SEC = 1_000_000_000;
/** Nanoseconds by which the two clocks may part before the wall clock counts as set. */
const DRIFT = 2_000_000;
/** Nanoseconds within which both clocks must have been read for their difference to mean anything: between the two, the process may lose the processor. */
const AT_ONCE = 1_000_000;
/** How often the clocks are read again where they were not read at once. */
const TRIES = 5;
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
  /** Wall clock minus monotonic clock, the nanoseconds not negative; refreshed when somebody has set the clock. */
  #offsetSec = 0;
  #offsetNsec = 0;
  /** False before the first time. */
  #offsetKnown = false;

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
    // Two numbers and not one of 64 bits: arithmetic on these costs ten times as much.
    const mono = process.hrtime();
    // As in the kernel, a clock that was set is seen by the next file that is touched.
    if (this.#parted(mono, Date.now())) this.#refreshOffset();
    const sec = mono[0] + this.#offsetSec;
    const nsec = mono[1] + this.#offsetNsec;
    return nsec < NSEC_PER_SEC ? { sec, nsec } : { sec: sec + 1, nsec: nsec - NSEC_PER_SEC };
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

  /** Whether the offset does not lead from one clock to the other; within 2 ms of it, it is kept, so that timestamps stay monotonic. */
  #parted(mono: readonly [sec: number, nsec: number], wall: number): boolean {
    if (!this.#offsetKnown) return true;
    const sec = mono[0] + this.#offsetSec - Math.floor(wall / 1000);
    const nsec = mono[1] + this.#offsetNsec - (wall % 1000) * 1_000_000;
    return Math.abs(sec * NSEC_PER_SEC + nsec) > DRIFT;
  }

  /** Date has only milliseconds; the monotonic clock supplies the digits below, so that time never steps within one. */
  #refreshOffset(): void {
    let mono = process.hrtime();
    let wall = Date.now();
    for (let i = 0; i < TRIES; i++) {
      const after = process.hrtime();
      if (between(after, mono) < AT_ONCE) break;
      mono = after;
      wall = Date.now();
    }
    if (!this.#parted(mono, wall)) return;
    const over = (wall % 1000) * 1_000_000 - mono[1];
    this.#offsetSec = Math.floor(wall / 1000) - mono[0] - (over < 0 ? 1 : 0);
    this.#offsetNsec = over < 0 ? over + NSEC_PER_SEC : over;
    this.#offsetKnown = true;
  }
}

/** Nanoseconds from `b` to `a`; exact where they are few enough to matter. */
function between(a: readonly [sec: number, nsec: number], b: readonly [sec: number, nsec: number]): number {
  return (a[0] - b[0]) * NSEC_PER_SEC + (a[1] - b[1]);
}
