/** Requests under way that have had to wait, and the signals that reach them there. */
import type { Scheduler } from '../../sched/scheduler.js';
import type { Task } from '../../sched/task.js';
import type { U64 } from '../protocol/message.js';
import { fatal_signal_pending } from '../signals.js';

/** Milliseconds between two looks at the signals of who has got one and waits still. */
const LOOK_FOR_SIGNALS = 250;

interface Waiting {
  readonly task: Task;
  /** Does not reject. */
  readonly done: Promise<void>;
}

export class Pending {
  readonly #sched: Scheduler;
  /** By their ids. */
  readonly #requests = new Map<U64, Waiting>();

  constructor(sched: Scheduler) {
    this.#sched = sched;
  }

  /** A request has to wait. @param done does not reject */
  add(unique: U64, task: Task, done: Promise<void>): void {
    this.#requests.set(unique, { task, done });
  }

  /** It was answered. */
  delete(unique: U64): void {
    this.#requests.delete(unique);
  }

  /** A signal for the task of a request. @returns false where none with that id waits */
  interrupt(unique: U64): boolean {
    const task = this.#requests.get(unique)?.task;
    if (task === undefined) return false;
    this.#signal(unique, task);
    return true;
  }

  /** The kernel tells of the first signal only: whether one follows that is fatal, must be looked for. */
  #signal(unique: U64, task: Task): void {
    const fatal = fatal_signal_pending(task.pid);
    task.interrupt(fatal);
    if (fatal) return;
    const again = (): void => {
      if (this.#requests.get(unique)?.task === task) this.#signal(unique, task);
    };
    this.#sched.timer(LOOK_FOR_SIGNALS, again, { background: true });
  }

  /** Who waits does so for nobody any more: interrupt all, and wait until they are answered. */
  async interruptAll(): Promise<void> {
    const waiting = [...this.#requests.values()];
    // All before any is waited for: one may hold what another waits for.
    for (const { task } of waiting) task.interrupt();
    await Promise.all(waiting.map(({ done }) => done));
  }
}
