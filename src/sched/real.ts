/** The scheduler that runs for real: promises for tasks, the machine's clocks, Node's timers. */
import type { Awaitable } from './awaitable.js';
import type { Scheduler, Timer } from './scheduler.js';
import type { Timespec } from './time.js';

const NSEC_PER_SEC = 1_000_000_000n;
/** Milliseconds that Node can count, 24 days: what is longer fires at once there. */
const MAX_TIMEOUT = 2 ** 31 - 1;

export class RealScheduler implements Scheduler {
  #runnable = 0;
  /** Wall clock minus monotonic clock in nanoseconds; refreshed now and then because somebody may set the clock. */
  #offset = 0n;
  #offsetRead = 0n;

  get runnable(): number {
    return this.#runnable;
  }

  realtime(): Timespec {
    const mono = process.hrtime.bigint();
    if (this.#offsetRead === 0n || mono - this.#offsetRead > NSEC_PER_SEC) this.#refreshOffset(mono);
    const now = mono + this.#offset;
    return { sec: Number(now / NSEC_PER_SEC), nsec: Number(now % NSEC_PER_SEC) };
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

  run<T>(body: () => Awaitable<T>): Awaitable<T> {
    this.#runnable++;
    let result: Awaitable<T>;
    try {
      result = body();
    } catch (error) {
      this.#runnable--;
      throw error;
    }
    if (!(result instanceof Promise)) {
      this.#runnable--;
      return result;
    }
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
  #refreshOffset(mono: bigint): void {
    const wall = BigInt(Date.now()) * 1_000_000n;
    const offset = wall - mono;
    const drift = offset - this.#offset;
    // Within 2 ms of what we had: keep the old offset, so that timestamps stay monotonic.
    if (this.#offsetRead === 0n || drift > 2_000_000n || drift < -2_000_000n) this.#offset = offset;
    this.#offsetRead = mono;
  }
}
