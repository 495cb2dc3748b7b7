/** A device that remembers every write and flush, and can say what a crash at any moment could have left. */
import { BlockDevice } from '../../../src/block/block-device.js';
import type { Driver } from '../../../src/block/request-queue.js';
import { Lockdep } from '../../../src/locking/lockdep.js';
import type { Awaitable } from '../../../src/sched/awaitable.js';
import { RealScheduler } from '../../../src/sched/real.js';
import type { Timer } from '../../../src/sched/scheduler.js';
import { type Cred, Task } from '../../../src/sched/task.js';

const SECTOR = 512;

/** Time stands still; timers fire when the test says so. */
export class TestScheduler extends RealScheduler {
  readonly timers = new Set<() => void>();

  override timer(_delay: number, fire: () => void): Timer {
    this.timers.add(fire);
    return { cancel: () => this.timers.delete(fire) };
  }

  fireTimers(): void {
    const due = [...this.timers];
    this.timers.clear();
    for (const fire of due) fire();
  }
}

type Event =
  | { readonly kind: 'write'; readonly offset: number; readonly bytes: Buffer }
  | { readonly kind: 'flush'; readonly begun: number };

export class CrashDriver implements Driver {
  /** What was on the device before the first event. */
  readonly #base: Buffer;
  readonly #now: Buffer;
  readonly events: Event[] = [];
  /** Where reads fail, in bytes. */
  readonly badSectors = new Set<number>();
  /** Writes fail from now on. */
  broken = false;
  /** How many turns a write takes, from 0; by default none takes any. */
  delay: (() => number) | undefined;

  constructor(base: Buffer) {
    this.#base = Buffer.from(base);
    this.#now = Buffer.from(base);
  }

  read(offset: number, into: Buffer): void {
    for (const bad of this.badSectors) {
      if (bad >= offset && bad < offset + into.length) throw new Error('a bad sector');
    }
    this.#now.copy(into, 0, offset);
  }

  write(offset: number, from: Buffer): Awaitable<void> {
    if (this.broken) throw new Error('broken');
    const turns = this.delay?.() ?? 0;
    return turns === 0 ? this.#apply(offset, from) : this.#later(offset, from, turns);
  }

  #apply(offset: number, from: Buffer): void {
    from.copy(this.#now, offset);
    this.events.push({ kind: 'write', offset, bytes: Buffer.from(from) });
  }

  async #later(offset: number, from: Buffer, turns: number): Promise<void> {
    for (let i = 0; i < turns; i++) await undefined;
    if (this.broken) throw new Error('broken');
    this.#apply(offset, from);
  }

  discard(offset: number, length: number): Awaitable<void> {
    return this.write(offset, Buffer.alloc(length));
  }

  zero(offset: number, length: number): Awaitable<void> {
    return this.discard(offset, length);
  }

  /** What was written before the flush began is stable once it has ended. */
  async flush(): Promise<void> {
    if (this.broken) throw new Error('broken');
    const begun = this.events.length;
    await undefined;
    await undefined;
    this.events.push({ kind: 'flush', begun });
  }

  /** The moments at which a flush ended: events before each. */
  flushes(): number[] {
    return this.events.flatMap((event, i) => (event.kind === 'flush' ? [i] : []));
  }

  get now(): Buffer {
    return Buffer.from(this.#now);
  }

  /**
   * A device after a crash between two events: everything that was flushed is there; of the rest, every sector has any one of the contents
   * that were written to it, or none of them.
   * @param cut how many events had happened; @param choose a number in [0, n)
   */
  crash(cut: number, choose: (n: number) => number): Buffer {
    const image = Buffer.from(this.#base);
    const happened = this.events.slice(0, cut);
    const stable = Math.max(0, ...happened.map((event) => (event.kind === 'flush' ? event.begun : 0)));
    const loose = new Map<number, Buffer[]>();
    happened.forEach((event, i) => {
      if (event.kind !== 'write') return;
      if (i < stable) event.bytes.copy(image, event.offset);
      else {
        for (let at = 0; at < event.bytes.length; at += SECTOR) {
          const list = loose.get(event.offset + at) ?? [];
          list.push(event.bytes.subarray(at, at + SECTOR));
          loose.set(event.offset + at, list);
        }
      }
    });
    for (const [offset, contents] of loose) contents[choose(contents.length + 1)]?.copy(image, offset);
    return image;
  }
}

export interface Machine {
  readonly sched: TestScheduler;
  readonly validator: Lockdep;
  readonly driver: CrashDriver;
  readonly bdev: BlockDevice;
  task(cred?: Cred): Task;
}

export function machine(image: Buffer, readOnly = false): Machine {
  const sched = new TestScheduler();
  const validator = new Lockdep('error', () => undefined);
  const driver = new CrashDriver(image);
  const bdev = new BlockDevice({ name: 'crash', size: image.length, readOnly }, driver, {}, sched, validator);
  return {
    sched,
    validator,
    driver,
    bdev,
    task: (cred?: Cred) => new Task(sched, validator, cred === undefined ? {} : { cred }),
  };
}

/** Let everything that can run now run. */
export async function settle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}
