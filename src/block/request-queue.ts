/** The queue of a device: checks requests, keeps them in order around flushes, and delivers completions in completion context. */
import { ERRNO, Errno, errno } from '../sched/errno.js';
import type { Scheduler } from '../sched/scheduler.js';
import { Task } from '../sched/task.js';
import type { Validator } from '../sched/validator.js';
import { type Bio, SECTOR_SIZE } from './bio.js';

/** What a device does with one request that was checked; a promise where it takes its time. Throws or rejects with an errno. */
export interface Driver {
  /** @param offset bytes */
  read(offset: number, into: Buffer): void;
  write(offset: number, from: Buffer): void;
  discard(offset: number, length: number): void;
  zero(offset: number, length: number): void;
  /** Make everything that was written stable; undefined where nothing has to be waited for. */
  flush(): Promise<void> | undefined;
}

export interface QueueLimits {
  /** Bytes of the device. */
  readonly size: number;
  readonly readOnly: boolean;
}

export class RequestQueue {
  readonly #driver: Driver;
  readonly #limits: QueueLimits;
  readonly #sched: Scheduler;
  readonly #validator: Validator;
  /** Requests whose completion is still to come. */
  inFlight = 0;

  constructor(driver: Driver, limits: QueueLimits, sched: Scheduler, validator: Validator) {
    this.#driver = driver;
    this.#limits = limits;
    this.#sched = sched;
    this.#validator = validator;
  }

  submit(_task: Task, bio: Bio): void {
    this.inFlight++;
    const refused = this.#check(bio);
    if (refused !== undefined) {
      this.#complete(bio, refused);
      return;
    }
    if (bio.op === 'flush' || bio.preflush === true) this.#afterFlush(bio, () => this.#transfer(bio));
    else this.#transfer(bio);
  }

  #check(bio: Bio): Errno | undefined {
    const offset = bio.sector * SECTOR_SIZE;
    if (offset + bio.length > this.#limits.size) return errno('EIO', `beyond the end of the device at byte ${offset}`);
    if (this.#limits.readOnly && bio.op !== 'read' && bio.op !== 'flush') return errno('EROFS');
    return undefined;
  }

  /** The data part of a request, and the flush behind it where it asks for FUA. */
  #transfer(bio: Bio): void {
    if (bio.op === 'flush') {
      this.#complete(bio, undefined);
      return;
    }
    try {
      this.#drive(bio);
    } catch (error) {
      this.#complete(bio, asErrno(error));
      return;
    }
    if (bio.fua === true) this.#afterFlush(bio, () => this.#complete(bio, undefined));
    else this.#complete(bio, undefined);
  }

  #drive(bio: Bio): void {
    let offset = bio.sector * SECTOR_SIZE;
    if (bio.op === 'discard') this.#driver.discard(offset, bio.length);
    else if (bio.op === 'write_zeroes') this.#driver.zero(offset, bio.length);
    else {
      for (const vec of bio.vecs) {
        if (bio.op === 'read') this.#driver.read(offset, vec);
        else this.#driver.write(offset, vec);
        offset += vec.length;
      }
    }
  }

  #afterFlush(bio: Bio, next: () => void): void {
    const flushed = this.#driver.flush();
    if (flushed === undefined) {
      next();
      return;
    }
    flushed.then(next, (error: unknown) => this.#complete(bio, asErrno(error)));
  }

  /** The "interrupt": a task that may not sleep. */
  #complete(bio: Bio, error: Errno | undefined): void {
    this.inFlight--;
    bio.end_io(new Task(this.#sched, this.#validator, { comm: 'completion', context: 'completion' }), error);
  }
}

/** The errno of what a driver threw: Node's system errors carry theirs by name. */
function asErrno(error: unknown): Errno {
  if (error instanceof Errno) return error;
  if (error instanceof Error && 'code' in error && typeof error.code === 'string' && error.code in ERRNO) {
    return errno(error.code as keyof typeof ERRNO, error.message);
  }
  return errno('EIO', String(error));
}
