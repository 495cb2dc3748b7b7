/** The violations of a mount so far, each distinct one once with how often it was seen: what the control directory shows. */
import { type Lockdep, type Violation, type ViolationSink, violationKey } from '../locking/lockdep.js';
import { violationText } from './violation-text.js';

/** Distinct violations that are kept; what comes after is in the log only, so that a storm does not fill the memory. */
const KEPT = 256;

export class ViolationHistory {
  readonly #violations = new Map<string, Violation>();
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
  }

  clear(): void {
    this.#violations.clear();
    this.#dropped = 0;
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
