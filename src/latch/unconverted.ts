/**
 * Data on their way into blocks that count as preallocated: they are on the device before the tree calls their blocks written. While they are on their way
 * nobody else may zero these blocks, or call them written: who would have to waits until they are there (i_unwritten and ext4_unwritten_wait of ext4).
 * That takes nothing but the device: once they are there, anybody may call them written.
 */
import { LockMap } from '../locking/lock-map.js';
import type { Task } from '../sched/task.js';
import { WaitQueue, wait_event } from '../sched/wait.js';
import { assert_no_handle } from './journal/types.js';

/** That somebody waits for such data is told to the validator: what is locked then may not be taken by who writes them. */
const i_unwritten = new LockMap('i_unwritten');

/** Tell the validator that somebody may come to wait for such data. */
export function might_wait_unconverted(task: Task): void {
  i_unwritten.might(task);
}

/** Data for some blocks. The blocks are called written, or the data are given up, when it is disposed of. */
export class Writing implements Disposable {
  /** Who waits for the device; undefined where nobody does. */
  readonly task: Task | undefined;
  readonly start: number;
  /** Exclusive. */
  end: number;
  landed = false;
  readonly #done: (writing: Writing) => void;

  constructor(task: Task | undefined, start: number, end: number, done: (writing: Writing) => void) {
    this.task = task;
    this.start = start;
    this.end = end;
    this.#done = done;
  }

  /** The data are on the device. Callable in completion context. */
  land(): void {
    this.landed = true;
    this.#done(this);
  }

  [Symbol.dispose](): void {
    this.end = this.start;
    this.#done(this);
  }
}

export class Unconverted {
  readonly #all = new Set<Writing>();
  readonly #ended = new WaitQueue();

  /**
   * Data for blocks `start` to `end` exclusive are about to be written; before it is looked up where these are. Without a task, nobody waits for them and
   * I/O that has been started takes them there.
   */
  begin(start: number, end: number, task?: Task): Writing {
    const inside = task === undefined ? undefined : i_unwritten.enter(task);
    let entered = true;
    const writing = new Writing(task, start, end, (changed) => {
      if (entered) inside?.release();
      entered = false;
      if (changed.end <= changed.start) this.#all.delete(changed);
      this.#ended.wake_all();
    });
    this.#all.add(writing);
    return writing;
  }

  /** Whether data for any of blocks `start` to `end` exclusive are on their way still. */
  overlaps(start: number, end: number): boolean {
    for (const writing of this.#all) if (!writing.landed && writing.start < end && start < writing.end) return true;
    return false;
  }

  /** Which of blocks `start` to `end` exclusive have no such data, in order: `[start, end)` each. */
  without(start: number, end: number): (readonly [start: number, end: number])[] {
    const found = [...this.#all].filter((writing) => writing.start < end && start < writing.end);
    found.sort((a, b) => a.start - b.start);
    const gaps: (readonly [number, number])[] = [];
    let at = start;
    for (const writing of found) {
      if (writing.start > at) gaps.push([at, writing.start]);
      at = Math.max(at, writing.end);
    }
    if (at < end) gaps.push([at, end]);
    return gaps;
  }

  /** Wait until all that are on their way now are there, or are given up. Not with a handle open, which they may need. @throws EDEADLK with one */
  async wait(task: Task): Promise<void> {
    assert_no_handle(task);
    const under = (writing: Writing): boolean => !writing.landed && this.#all.has(writing);
    const now = [...this.#all].filter(under);
    await wait_event(task, this.#ended, () => !now.some(under), {
      what: 'data for preallocated blocks',
      blockers: () => now.filter(under).flatMap((writing) => writing.task ?? []),
    });
  }
}
