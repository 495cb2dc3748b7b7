/** What tests of devices need: a scheduler, a validator whose violations can be read, and tasks. */

import type { Violation } from '../../src/locking/lockdep/violation.js';
import { Lockdep } from '../../src/locking/lockdep.js';
import { RealScheduler } from '../../src/sched/real.js';
import { Task, type TaskOptions } from '../../src/sched/task.js';
import type { EnforceLevel } from '../../src/sched/validator.js';

export interface TestMachine {
  readonly sched: RealScheduler;
  readonly validator: Lockdep;
  readonly violations: Violation[];
  task(options?: TaskOptions): Task;
  /** The kinds of the violations so far, which are forgotten. */
  kinds(): string[];
}

export function testMachine(enforce: EnforceLevel = 'warn'): TestMachine {
  const sched = new RealScheduler();
  const violations: Violation[] = [];
  const validator = new Lockdep(enforce, (violation) => violations.push(violation));
  return {
    sched,
    validator,
    violations,
    task: (options) => new Task(sched, validator, { comm: 'test', ...options }),
    kinds: () => violations.splice(0).map((violation) => violation.kind),
  };
}

/** Call, and give the errno's name that it throws or rejects with, or undefined where it succeeds. */
export async function codeOf(body: () => unknown): Promise<string | undefined> {
  try {
    await body();
    return undefined;
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error);
  }
}
