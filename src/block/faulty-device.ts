/** A device that fails on demand, for who wants to see what happens then: errors, torn writes and delays by a policy. */
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { type ErrnoName, errno } from '../sched/errno.js';
import type { Scheduler } from '../sched/scheduler.js';
import type { Validator } from '../sched/validator.js';
import type { BioOp } from './bio.js';
import { BlockDevice } from './block-device.js';
import type { Driver } from './request-queue.js';

/** One request on its way to the device; a write of several buffers is several. */
export interface FaultyRequest {
  readonly op: BioOp;
  /** Bytes from the start of the device. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
  /** The how manieth of its kind it is, from 1. */
  readonly nth: number;
}

/** What happens to a request; nothing of it, and it goes through. */
export interface Fault {
  /** It fails with this errno. */
  readonly error?: ErrnoName;
  /** Of a write that fails: bytes that get through all the same. */
  readonly torn?: number;
  /** Milliseconds that it takes; the request completes later, even with 0. */
  readonly delay?: number;
}

/** Decides about every request; undefined lets it through. */
export type FaultPolicy = (request: FaultyRequest) => Fault | undefined;

/** Fail the `nth` request of a kind, from 1 on, once. */
export function failNth(op: BioOp, nth: number, error: ErrnoName = 'EIO'): FaultPolicy {
  return (request) => (request.op === op && request.nth === nth ? { error } : undefined);
}

/** Fail every request of a kind that touches a range of bytes: a bad place on the medium. */
export function failRange(op: BioOp, start: number, end: number, error: ErrnoName = 'EIO'): FaultPolicy {
  return ({ op: its, offset, length }) =>
    its === op && offset < end && offset + length > start ? { error } : undefined;
}

/** The first of some policies that has something to say. */
export function firstOf(...policies: readonly FaultPolicy[]): FaultPolicy {
  return (request) => {
    for (const policy of policies) {
      const fault = policy(request);
      if (fault !== undefined) return fault;
    }
    return undefined;
  };
}

class FaultyDriver implements Driver {
  readonly #inner: Driver;
  readonly #policy: FaultPolicy;
  readonly #sched: Scheduler;
  readonly #seen = new Map<BioOp, number>();

  constructor(inner: Driver, policy: FaultPolicy, sched: Scheduler) {
    this.#inner = inner;
    this.#policy = policy;
    this.#sched = sched;
  }

  read(offset: number, into: Buffer): Awaitable<void> {
    return this.#decide('read', offset, into.length, () => this.#inner.read(offset, into));
  }

  write(offset: number, from: Buffer): Awaitable<void> {
    const torn = (bytes: number): Awaitable<void> => this.#inner.write(offset, from.subarray(0, bytes));
    return this.#decide('write', offset, from.length, () => this.#inner.write(offset, from), torn);
  }

  get discard_granularity(): number | undefined {
    return this.#inner.discard_granularity;
  }

  discard(offset: number, length: number): Awaitable<void> {
    return this.#decide('discard', offset, length, () => this.#inner.discard(offset, length));
  }

  zero(offset: number, length: number): Awaitable<void> {
    return this.#decide('write_zeroes', offset, length, () => this.#inner.zero(offset, length));
  }

  flush(): Awaitable<void> {
    return this.#decide('flush', 0, 0, () => this.#inner.flush());
  }

  unpin(): void {
    this.#inner.unpin?.();
  }

  #decide(
    op: BioOp,
    offset: number,
    length: number,
    through: () => Awaitable<void>,
    torn?: (bytes: number) => Awaitable<void>,
  ): Awaitable<void> {
    const nth = (this.#seen.get(op) ?? 0) + 1;
    this.#seen.set(op, nth);
    const fault = this.#policy({ op, offset, length, nth });
    if (fault === undefined) return through();
    const act = (): Awaitable<void> => {
      const { error } = fault;
      if (error === undefined) return through();
      return andThen(fault.torn === undefined ? undefined : torn?.(fault.torn), () => {
        throw errno(error, `${op} number ${nth} fails on demand`);
      });
    };
    if (fault.delay === undefined) return act();
    return this.#pause(fault.delay).then(act);
  }

  #pause(delay: number): Promise<void> {
    return new Promise((resolve) => {
      this.#sched.timer(delay, resolve);
    });
  }
}

/**
 * Let the requests of a device pass by `policy`, from the next one on (CONFIG_FAIL_MAKE_REQUEST). @param policy undefined: nothing fails any more
 */
export function fail_make_request(bdev: BlockDevice, policy: FaultPolicy | undefined, sched: Scheduler): void {
  const { queue } = bdev;
  queue.driver = policy === undefined ? queue.own : new FaultyDriver(queue.own, policy, sched);
}

/** A device like `inner`, whose requests pass by `policy` first. It has a name, openers, and buffers of its own. */
export function faultyDevice(
  inner: BlockDevice,
  policy: FaultPolicy,
  sched: Scheduler,
  validator: Validator,
): BlockDevice {
  return new BlockDevice(
    { name: `faulty:${inner.name}`, size: inner.size, readOnly: inner.read_only, ephemeral: inner.ephemeral },
    new FaultyDriver(inner.queue.driver, policy, sched),
    inner.ops,
    sched,
    validator,
  );
}
