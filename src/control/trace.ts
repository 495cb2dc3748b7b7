/** `.latchfs/trace`: switches the lock trace of a mount on and off, and shows what it has recorded. */
import type { Lockdep } from '../locking/lockdep.js';
import { TraceRecorder } from '../report/trace.js';
import { TraceLog } from '../report/trace-log.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { ControlFile } from './file.js';

export interface TraceTarget {
  readonly validator: Lockdep;
  /** Called with one line for the log about a word that means nothing. */
  refused(message: string): void;
}

/** The trace of one mount. Recorded are requests, but not those on this file. */
class Tracing {
  readonly #validator: Lockdep;
  readonly #log = new TraceLog();
  #recorder: TraceRecorder | undefined;
  /** The process that switched it on, as requests name it. */
  #by = 0;
  /** Events that no recorder has kept. */
  #lost = 0;

  constructor(validator: Lockdep) {
    this.#validator = validator;
  }

  /** @throws EBUSY where it is on: two who read one trace would clear it for each other */
  on({ pid }: Task): void {
    if (this.#validator.observer !== undefined) throw errno('EBUSY', "tracing is on already: write 'off' first");
    this.clear();
    this.#by = pid;
    this.#recorder = new TraceRecorder((request) => this.#log.add(request), {
      wanted: ({ syscall }) => syscall !== '',
    });
    this.#validator.observer = this.#recorder;
  }

  off(): void {
    if (this.#recorder === undefined) return;
    this.#lost += this.#recorder.lost;
    this.#recorder = undefined;
    this.#validator.observer = undefined;
  }

  clear(): void {
    this.#log.clear();
    this.#lost = 0;
    if (this.#recorder !== undefined) this.#recorder.lost = 0;
  }

  disregard(task: Task): void {
    this.#recorder?.disregard(task);
  }

  text(): string {
    const lost = this.#lost + (this.#recorder?.lost ?? 0);
    const tracing = this.#recorder !== undefined;
    return this.#log.text({ tracing, enforce: this.#validator.enforce, by: this.#by, lost });
  }
}

/** The file. It takes `on`, which begins anew, `off` and `clear`; anything else is EINVAL, and explained in the log. */
export function traceFile({ validator, refused }: TraceTarget): ControlFile {
  const tracing = new Tracing(validator);
  const obey = (task: Task, word: string): void => {
    if (word === 'on') tracing.on(task);
    else if (word === 'off') tracing.off();
    else if (word === 'clear') tracing.clear();
    else throw errno('EINVAL', `takes on, off or clear, not '${word}'`);
  };
  return {
    name: 'trace',
    show: () => tracing.text(),
    write: (task, text) => {
      try {
        obey(task, text.trim());
        // What it was switched on by, the release of this file included, is no part of it.
        tracing.disregard(task);
      } catch (error) {
        refused(`trace: ${error instanceof Error ? error.message : String(error)}`);
        throw error;
      }
    },
    touched: (task) => tracing.disregard(task),
  };
}
