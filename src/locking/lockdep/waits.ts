/** Who waits for whom: circles among sleeping tasks, found when the last of them goes to sleep, and tasks that sleep for too long. */
import type { Timer } from '../../sched/scheduler.js';
import type { Task } from '../../sched/task.js';
import type { CircleMember } from '../../sched/validator.js';
import { trace } from './tracker.js';

/** A task that sleeps. */
export interface Sleeper {
  readonly task: Task;
  readonly blockers: (() => readonly Task[]) | undefined;
  /** Monotonic milliseconds. */
  readonly since: number;
  /** Where it went to sleep; for waits of which nobody is known to end them, nobody asks. */
  readonly error: Error | undefined;
  /** It was reported, or never will be: like the kernel's watchdog, ours leaves alone who can be interrupted. */
  told: boolean;
}

export class Waits {
  readonly sleepers = new Map<Task, Sleeper>();
  readonly #timeout: number;
  readonly #hung: (sleeper: Sleeper) => void;
  #timer: Timer | undefined;

  /** @param timeout milliseconds after which `hung` is called once for a task that sleeps uninterruptibly; 0 for never */
  constructor(timeout: number, hung: (sleeper: Sleeper) => void) {
    this.#timeout = timeout;
    this.#hung = hung;
  }

  /** A task goes to sleep. @returns the tasks of the circle that this closes, itself first; undefined where there is none */
  add(task: Task, blockers: (() => readonly Task[]) | undefined, interruptible: boolean): Sleeper[] | undefined {
    const error = blockers === undefined ? undefined : trace(task).error;
    const sleeper: Sleeper = { task, blockers, since: task.sched.monotonic(), error, told: interruptible };
    this.sleepers.set(task, sleeper);
    const circle = blockers === undefined ? undefined : this.#circle(sleeper);
    if (circle !== undefined) this.sleepers.delete(task);
    else if (this.#timeout > 0 && this.#timer === undefined) this.#watch(task);
    return circle;
  }

  remove(task: Task): void {
    this.sleepers.delete(task);
  }

  /** From a task along those that it waits for, depth first, until one waits for it. */
  #circle(start: Sleeper): Sleeper[] | undefined {
    const seen = new Set<Task>([start.task]);
    const path: Sleeper[] = [start];
    const follow = (sleeper: Sleeper): boolean => {
      for (const blocker of sleeper.blockers?.() ?? []) {
        if (blocker === start.task) return true;
        const next = this.sleepers.get(blocker);
        if (next === undefined || seen.has(blocker)) continue;
        seen.add(blocker);
        path.push(next);
        if (follow(next)) return true;
        path.pop();
      }
      return false;
    };
    return follow(start) ? path : undefined;
  }

  /** One timer for all: armed while anybody sleeps. */
  #watch(task: Task): void {
    this.#timer = task.sched.timer(
      this.#timeout,
      () => {
        this.#timer = undefined;
        const now = task.sched.monotonic();
        for (const sleeper of this.sleepers.values()) {
          if (sleeper.told || now - sleeper.since < this.#timeout) continue;
          sleeper.told = true;
          this.#hung(sleeper);
        }
        const [left] = this.sleepers.keys();
        if (left !== undefined) this.#watch(left);
      },
      { background: true },
    );
  }
}

/** A sleeping task as reports show it. */
export function memberOf({ task, error }: Sleeper): CircleMember {
  return {
    task: describeTask(task),
    waitsFor: task.waitingFor?.what ?? 'nothing',
    held: task.held.map((held) => `${held.name} (${held.mode})`),
    stack: error?.stack ?? '',
  };
}

/** `comm/pid (system call)`, with the task's number. */
export function describeTask(task: Task): string {
  const call = task.syscall === '' ? '' : ` (${task.syscall})`;
  return `${task.comm}/${task.pid}${call} #${task.id}`;
}
