/** The queue of a device: checks requests, keeps them in order around flushes, and delivers completions in completion context. */
import { task_end } from '../locking/context.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { asErrno, Errno, errno } from '../sched/errno.js';
import type { Scheduler } from '../sched/scheduler.js';
import { Task } from '../sched/task.js';
import type { Validator } from '../sched/validator.js';
import { might_sleep, WaitQueue } from '../sched/wait.js';
import { type Bio, SECTOR_SIZE } from './bio.js';
import { io_begins, io_ends } from './in-flight.js';

/**
 * What a device does with one request that was checked: at once, or with a promise where it takes its time. Offsets and
 * lengths are in bytes and multiples of the sector. Throws or rejects with an errno or one of Node's system errors.
 */
export interface Driver {
  read(offset: number, into: Buffer): Awaitable<void>;
  write(offset: number, from: Buffer): Awaitable<void>;
  /** Several buffers at once, where the device gains by it; otherwise they come one after the other. */
  readv?(offset: number, into: readonly Buffer[]): Awaitable<void>;
  writev?(offset: number, from: readonly Buffer[]): Awaitable<void>;
  /** Bytes of which a discard frees multiples; 0 where it frees nothing. A page where that is not said. */
  readonly discard_granularity?: number | undefined;
  /** The range reads as zeroes afterwards. */
  discard(offset: number, length: number): Awaitable<void>;
  zero(offset: number, length: number): Awaitable<void>;
  /** Make everything stable that was written before the call. */
  flush(): Awaitable<void>;
  /** Nobody reaches the stored bytes directly any more: they may move, and go. */
  unpin?(): void;
}

export interface QueueLimits {
  /** Bytes of the device. */
  size: number;
  readonly readOnly: boolean;
}

export class RequestQueue {
  /** The device's own. */
  readonly own: Driver;
  /** Where requests go: to the device's own, or through something in front of it. */
  driver: Driver;
  readonly limits: QueueLimits;
  readonly #sched: Scheduler;
  readonly #validator: Validator;
  readonly #idle = new WaitQueue();
  /** The "interrupt" in which completions run; made anew after one that has not given back its locks. */
  #interrupt: Task | undefined;
  /** Completions that are being run: one may submit a request that completes at once. */
  #depth = 0;
  #inFlight = 0;
  /** Flushes that have succeeded: what had completed before one of them began is stable. */
  flushes = 0;
  /** Polled requests that the device has finished, with their errors. */
  #finished: { readonly bio: Bio; readonly error: Errno | undefined }[] = [];
  readonly #finishedOne = new WaitQueue();

  constructor(driver: Driver, limits: QueueLimits, sched: Scheduler, validator: Validator) {
    this.own = driver;
    this.driver = driver;
    this.limits = limits;
    this.#sched = sched;
    this.#validator = validator;
  }

  /** Requests whose completion is still to come. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Start a request; it completes before this returns where the device is done at once. Does not sleep. */
  submit(task: Task, bio: Bio): void {
    task.nr_ios++;
    this.#inFlight++;
    if (this.#validator.stacks) io_begins(bio);
    let running: Awaitable<void>;
    try {
      this.#check(bio);
      running = this.#run(bio);
    } catch (error) {
      this.#finish(bio, asErrno(error));
      return;
    }
    if (running instanceof Promise) this.#endLater(bio, running);
    else this.#finish(bio, undefined);
  }

  /** Run the completions of polled requests that are finished. @returns how many */
  poll(task: Task, spin: boolean): Awaitable<number> {
    if (this.#finished.length === 0 && spin && this.#inFlight > 0) return this.#pollLater(task);
    const due = this.#finished;
    this.#finished = [];
    for (const { bio, error } of due) this.#end(bio, error);
    return due.length;
  }

  async #pollLater(task: Task): Promise<number> {
    while (this.#finished.length === 0 && this.#inFlight > 0) await this.#finishedOne.wait(task, { what: 'block I/O' });
    return this.poll(task, false);
  }

  /** The device is done: the completion runs now, or when it is polled for. */
  #finish(bio: Bio, error: Errno | undefined): void {
    if (bio.polled !== true) {
      this.#end(bio, error);
      return;
    }
    this.#finished.push({ bio, error });
    this.#finishedOne.wake_all();
    this.#idle.wake_all();
  }

  /** Wait until no request is under way, and complete what nobody has polled for. Those that are submitted meanwhile are waited for too. */
  drain(task: Task): Awaitable<void> {
    might_sleep(task, 'block I/O');
    if (this.#finished.length > 0) return andThen(this.poll(task, false), RequestQueue.#drainMore, this, task);
    return this.#inFlight === 0 ? undefined : this.#waitIdle(task);
  }

  static #drainMore(_polled: unknown, queue: RequestQueue, task: Task): Awaitable<void> {
    return queue.drain(task);
  }

  async #waitIdle(task: Task): Promise<void> {
    while (this.#inFlight > 0) {
      if (this.#finished.length > 0) await this.poll(task, false);
      else await this.#idle.wait(task, { what: 'block I/O' });
    }
  }

  /** @throws EIO beyond the end; EROFS; EINVAL for what is not whole sectors or does not add up */
  #check(bio: Bio): void {
    const { op, sector, length, vecs } = bio;
    if (!Number.isInteger(sector) || sector < 0 || length < 0 || length % SECTOR_SIZE !== 0) {
      throw errno('EINVAL', `a request for ${length} bytes at sector ${sector}`);
    }
    if (sector * SECTOR_SIZE + length > this.limits.size) {
      throw errno('EIO', `beyond the end of the device at sector ${sector}`);
    }
    if (this.limits.readOnly && op !== 'read' && op !== 'flush') throw errno('EROFS');
    if (op !== 'read' && op !== 'write') return;
    let bytes = 0;
    for (const vec of vecs) bytes += vec.length;
    if (bytes !== length) throw errno('EINVAL', `a request for ${length} bytes has memory for ${bytes}`);
  }

  /**
   * A request in its three parts (block/blk-flush.c): the flush before it, its data, and the flush behind it in place of FUA.
   * What completed before the flush was submitted has reached the driver, so the driver's flush makes it stable.
   */
  #run(bio: Bio): Awaitable<void> {
    const { driver } = this;
    if (bio.op === 'flush') return driver.flush();
    const begun = bio.preflush === true ? andThen(driver.flush(), transferAfter, driver, bio) : transfer(driver, bio);
    return bio.fua === true ? andThen(begun, flushAfter, driver) : begun;
  }

  /** Who submitted goes on; the waiting for the device counts as a task of its own. */
  #endLater(bio: Bio, running: Promise<void>): void {
    void this.#sched.run(RequestQueue.#ends, this, bio, running);
  }

  static async #ends(queue: RequestQueue, bio: Bio, running: Promise<void>): Promise<void> {
    let failure: Errno | undefined;
    try {
      await queue.#sched.external(running);
    } catch (error) {
      failure = asErrno(error);
    }
    queue.#finish(bio, failure);
  }

  /** The completion. */
  #end(bio: Bio, error: Errno | undefined): void {
    this.#inFlight--;
    if (error === undefined && (bio.op === 'flush' || bio.preflush === true || bio.fua === true)) this.flushes++;
    if (this.#validator.stacks) io_ends(bio);
    this.#interrupt ??= new Task(this.#sched, this.#validator, { comm: 'completion', context: 'completion' });
    const task = this.#interrupt;
    this.#depth++;
    try {
      const result: unknown = bio.end_io(task, error);
      if (result instanceof Promise) this.#promised(task, result);
    } catch (thrown) {
      // A broken rule was reported when it was found, and there is no system call here that could fail with it.
      if (!(thrown instanceof Errno)) throw thrown;
    } finally {
      this.#depth--;
      if (this.#depth === 0 && task.held.length > 0) this.#endInterrupt(task);
      if (this.#inFlight === 0) this.#idle.wake_all();
    }
  }

  #promised(task: Task, result: Promise<unknown>): void {
    result.catch(() => undefined);
    this.#validator.violation(task, 'promise', {
      message: 'a completion callback returned a promise: it may not sleep',
      rule: 'completion#may-not-block',
    });
  }

  #endInterrupt(task: Task): void {
    this.#interrupt = undefined;
    try {
      task_end(task);
    } catch (thrown) {
      if (!(thrown instanceof Errno)) throw thrown;
    }
  }
}

function transferAfter(_flushed: void, driver: Driver, bio: Bio): Awaitable<void> {
  return transfer(driver, bio);
}

function flushAfter(_begun: void, driver: Driver): Awaitable<void> {
  return driver.flush();
}

function transfer(driver: Driver, bio: Bio): Awaitable<void> {
  const offset = bio.sector * SECTOR_SIZE;
  switch (bio.op) {
    case 'read':
      return driver.readv === undefined
        ? each(undefined, driver, readOne, offset, bio.vecs, 0)
        : driver.readv(offset, bio.vecs);
    case 'write':
      return driver.writev === undefined
        ? each(undefined, driver, writeOne, offset, bio.vecs, 0)
        : driver.writev(offset, bio.vecs);
    case 'discard':
      return bio.length === 0 ? undefined : driver.discard(offset, bio.length);
    case 'write_zeroes':
      return bio.length === 0 ? undefined : driver.zero(offset, bio.length);
    case 'flush':
      return undefined;
  }
}

function readOne(driver: Driver, offset: number, vec: Buffer): Awaitable<void> {
  return driver.read(offset, vec);
}

function writeOne(driver: Driver, offset: number, vec: Buffer): Awaitable<void> {
  return driver.write(offset, vec);
}

/** One buffer after the other; the next one waits for the one before where that takes its time. @param from the buffer to begin with, at `offset` of the device */
function each(
  _before: void,
  driver: Driver,
  io: (driver: Driver, offset: number, vec: Buffer) => Awaitable<void>,
  offset: number,
  vecs: readonly Buffer[],
  from: number,
): Awaitable<void> {
  let position = offset;
  for (let i = from; i < vecs.length; i++) {
    const vec = vecs[i];
    if (vec === undefined) break;
    const done = io(driver, position, vec);
    position += vec.length;
    if (done instanceof Promise) return andThen(done, each, driver, io, position, vecs, i + 1);
  }
  return undefined;
}
