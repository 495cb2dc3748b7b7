/** The violations of a mount so far, each distinct one once with how often it was seen: what the control directory shows. */

import { type Violation, type ViolationSink, violationKey } from '../locking/lockdep/violation.js';
import type { Lockdep } from '../locking/lockdep.js';
import type { Task } from '../sched/task.js';
import { WaitQueue, wait_event } from '../sched/wait.js';
import { violationText } from './violation-text.js';

/** Distinct violations that are kept; what comes after is in the log only, so that a storm does not fill the memory. */
const KEPT = 256;

export class ViolationHistory {
  readonly #violations = new Map<string, Violation>();
  readonly #news = new WaitQueue();
  #dropped = 0;

  /** A sink that keeps each distinct violation and passes all on to `next`. */
  sink(next: ViolationSink): ViolationSink {
    return (violation) => {
      this.#keep(violation);
      next(violation);
    };
  }

  #keep(violation: Violation): void {
    const key = violationKey(violation);
    if (this.#violations.has(key)) return;
    if (this.#violations.size < KEPT) this.#violations.set(key, violation);
    else this.#dropped++;
    this.#news.wake_all();
  }

  clear(): void {
    this.#violations.clear();
    this.#dropped = 0;
  }

  /** Sleep until a rule is broken in a way that is not known yet. @returns the report @throws EINTR by a signal */
  async next(task: Task): Promise<string> {
    const known = new Set(this.#violations.values());
    const fresh = (): Violation[] => [...this.#violations.values()].filter((violation) => !known.has(violation));
    const dropped = this.#dropped;
    const condition = (): boolean => fresh().length > 0 || this.#dropped > dropped;
    await wait_event(task, this.#news, condition, { interruptible: true, what: 'a violation' });
    return fresh().map(violationText).join('\n');
  }

  /** Every violation that is kept, oldest first, as lockdep's users read it. Empty where there was none. */
  text(lockdep: Lockdep): string {
    const counts = lockdep.counts();
    const reports = [...this.#violations].map(([key, violation]) => {
      const count = counts.get(key) ?? 1;
      return `seen ${count === 1 ? 'once' : `${count} times`}:\n${violationText(violation)}\n`;
    });
    if (this.#dropped > 0) reports.push(`${this.#dropped} more are in the log only\n`);
    return reports.join('\n');
  }
}
