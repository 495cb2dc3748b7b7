/**
 * The seam between the filesystem and time: every wait, timer, clock reading and random number of the layers below
 * fuse/ goes through this interface, so that an exploring scheduler can replace the real one.
 *
 * sched/ is tasks, how they wait, and time; it may import uapi/ and below.
 */
import type { Awaitable, Given } from './awaitable.js';
import type { Timespec } from './time.js';

/** A timer that has been armed. Cancelling one that has fired does nothing. */
export interface Timer {
  cancel(): void;
}

export interface Scheduler {
  /**
   * Tasks that can make progress without anything from outside: started, not finished, not waiting. The request loop
   * sleeps only when it is 0.
   */
  readonly runnable: number;

  /** Whether tasks that could run have stopped for a turn of what happens outside. */
  readonly wantsTurn: boolean;

  /** CLOCK_REALTIME with nanoseconds. */
  realtime(): Timespec;

  /** CLOCK_REALTIME_COARSE, which the kernel stamps files with: when its clock ticked last. Until it ticks again the same object is returned. */
  coarse(): Timespec;

  /**
   * What the kernel would stamp a file with: as coarse, or later where somebody has needed a finer time since. As of when a task began last: what others have stamped
   * before is not later. Takes some microseconds.
   */
  stamp(): Timespec;

  /** CLOCK_MONOTONIC in milliseconds, with fractions. */
  monotonic(): number;

  /** A number in [0, 1). */
  random(): number;

  /**
   * Call `fire` once after `delay` milliseconds, in no task. One in the background watches what others do: the process may end, and an exploration
   * may stop, though it is armed.
   */
  timer(delay: number, fire: () => void, options?: { readonly background?: boolean }): Timer;

  /** Run the body of a task to its end, counting it as runnable while it runs. */
  run<T, G extends Given>(body: (...given: G) => Awaitable<T>, ...given: G): Awaitable<T>;

  /** The calling task stops to run: it waits. */
  block(): void;

  /** A task that waited can run again. */
  unblock(): void;

  /**
   * Wait for something that happens outside the scheduler, such as a system call on libuv's pool. The task counts as
   * waiting until the promise settles.
   */
  external<T>(work: Promise<T>): Promise<T>;

  /** Let every other runnable task make a step (cond_resched); and, where this one and others have had their slice, whoever waits for something outside. */
  yield(): Promise<void>;
}
