/** Writes of data that a transaction must not overtake (data=ordered): those that have been started, until the last of them has ended. */
import { type Awaitable, andThen } from '../../sched/awaitable.js';
import type { Task } from '../../sched/task.js';
import { WaitQueue, wait_event } from '../../sched/wait.js';

export class OrderedWrites {
  #under_way = 0;
  readonly #done = new WaitQueue();

  /** One more write is about to be started. */
  begin(): void {
    this.#under_way++;
  }

  /** A write has ended, well or not. Callable in completion context. */
  end(): void {
    if (--this.#under_way === 0) this.#done.wake_all();
  }

  /** Wait until all that were begun have ended. */
  wait(task: Task): Awaitable<void> {
    if (this.#under_way === 0) return undefined;
    return andThen(
      wait_event(task, this.#done, () => this.#under_way === 0, { what: 'ordered data' }),
      () => undefined,
    );
  }
}
