/** The scheduler that runs for real: promises for tasks, the machine's clocks, Node's timers. */
import type { Awaitable, Given } from './awaitable.js';
import type { Scheduler, Timer } from './scheduler.js';
import type { Timespec } from './time.js';

const NSEC_PER_SEC = 1_000_000_000;
/** Nanoseconds by which the two clocks may part before the wall clock counts as set. */
const DRIFT = 2_000_000;
/** Milliseconds that Node can count, 24 days: what is longer fires at once there. */
const MAX_TIMEOUT = 2 ** 31 - 1;

export class RealScheduler implements Scheduler {
  #runnable = 0;
  /** Wall clock minus monotonic clock, the nanoseconds not negative; refreshed now and then because somebody may set the clock. */
  #offsetSec = 0;
  #offsetNsec = 0;
  /** When that was, by the monotonic clock; undefined before the first time. */
  #offsetRead: readonly [sec: number, nsec: number] | undefined;

  get runnable(): number {
    return this.#runnable;
  }

  realtime(): Timespec {
    // Two numbers and not one of 64 bits: arithmetic on these costs ten times as much.
    const mono = process.hrtime();
    const read = this.#offsetRead;
    if (read === undefined || between(mono, read) > NSEC_PER_SEC) this.#refreshOffset(mono);
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
    await undefined;
  }

  /** Date has only milliseconds; the monotonic clock supplies the digits below, so that time never steps within one. */
  #refreshOffset(mono: readonly [sec: number, nsec: number]): void {
    const wall = Date.now();
    const over = (wall % 1000) * 1_000_000 - mono[1];
    const sec = Math.floor(wall / 1000) - mono[0] - (over < 0 ? 1 : 0);
    const nsec = over < 0 ? over + NSEC_PER_SEC : over;
    const drift = between([sec, nsec], [this.#offsetSec, this.#offsetNsec]);
    // Within 2 ms of what we had: keep the old offset, so that timestamps stay monotonic.
    if (this.#offsetRead === undefined || Math.abs(drift) > DRIFT) {
      this.#offsetSec = sec;
      this.#offsetNsec = nsec;
    }
    this.#offsetRead = mono;
  }
}

/** Nanoseconds from `b` to `a`; exact where they are few enough to matter. */
function between(a: readonly [sec: number, nsec: number], b: readonly [sec: number, nsec: number]): number {
  return (a[0] - b[0]) * NSEC_PER_SEC + (a[1] - b[1]);
}
