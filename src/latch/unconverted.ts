/**
 * Data that go past the page cache into preallocated blocks: they are on the device, or on their way to it, before the tree calls their blocks written. Until
 * then nobody else may zero these blocks, or call them written: who would have to waits for the end (i_unwritten and ext4_unwritten_wait of ext4).
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

interface Writing {
  readonly task: Task;
  readonly start: number;
  readonly end: number;
}

export class Unconverted {
  readonly #under = new Set<Writing>();
  readonly #ended = new WaitQueue();

  /**
   * Data for blocks `start` to `end` exclusive are about to be written; before it is looked up where these are. The blocks are called written, or the
   * data are given up, when the guard goes.
   */
  begin(task: Task, start: number, end: number): Disposable {
    const inside = i_unwritten.enter(task);
    const writing = { task, start, end };
    this.#under.add(writing);
    return {
      [Symbol.dispose]: () => {
        this.#under.delete(writing);
        inside.release();
        this.#ended.wake_all();
      },
    };
  }

  /** Whether there are such data for any of blocks `start` to `end` exclusive. */
  overlaps(start: number, end: number): boolean {
    for (const writing of this.#under) if (writing.start < end && start < writing.end) return true;
    return false;
  }

  /** Wait for the end of all that are under way now. Not with a handle open, which they will need. @throws EDEADLK with one */
  async wait(task: Task): Promise<void> {
    assert_no_handle(task);
    const now = [...this.#under];
    await wait_event(task, this.#ended, () => !now.some((writing) => this.#under.has(writing)), {
      what: 'direct I/O to preallocated blocks',
      blockers: () => now.filter((writing) => this.#under.has(writing)).map((writing) => writing.task),
    });
  }
}
