/** Work that was found where nobody may wait, such as in the completion of I/O, and is done by a task of the filesystem's own (kernel/workqueue.c, ordered). */
import { task_end } from '../locking/context.js';
import type { Task } from '../sched/task.js';
import type { SuperBlock } from './super-block.js';

/** Its errors are its own to tell: what it throws is a breach. */
export type Work = (task: Task) => Promise<void>;

/** One piece of work after the other, in the order they came in. Its task is there only while there is some. */
export class WorkQueue {
  readonly #sb: SuperBlock;
  readonly #comm: string;
  #waiting: Work[] = [];
  #running = false;

  constructor(sb: SuperBlock, comm: string) {
    this.#sb = sb;
    this.#comm = comm;
  }

  /** Have it done some time soon, not in the caller's stack (queue_work). May not block; callable in completion context. */
  queue_work(work: Work): void {
    this.#waiting.push(work);
    if (this.#running) return;
    this.#running = true;
    const { sched } = this.#sb;
    const done = sched.run(async () => {
      await sched.yield();
      await this.#work();
    });
    if (done instanceof Promise) done.catch((error: unknown) => this.#failed(error));
  }

  async #work(): Promise<void> {
    const task = this.#sb.newTask({ comm: this.#comm });
    try {
      for (let work = this.#waiting.shift(); work !== undefined; work = this.#waiting.shift()) {
        try {
          await work(task);
        } catch (error) {
          this.#failed(error);
        }
        await task.sched.yield();
      }
    } finally {
      this.#running = false;
      task_end(task);
    }
  }

  #failed(error: unknown): void {
    const { validator } = this.#sb.machine;
    validator.violation(this.#sb.newTask({ comm: this.#comm }), 'promise', {
      message: `${this.#comm} failed: ${String(error)}`,
      rule: 'task#fails-in-no-background',
    });
  }
}
