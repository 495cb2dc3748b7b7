/** What a system call of the stress is, and what several of them need. */
import { Task } from '../../../src/sched/task.js';
import type { Actor } from '../actor.js';

/** A call, and how often it is made compared with the others. */
export interface Call {
  readonly name: string;
  readonly weight: number;
  run(actor: Actor): Promise<unknown>;
}

/** One of them, by chance. */
export const pick = <T>(a: Actor, ...values: [T, ...T[]]): T => values[a.choose(values.length)] ?? values[0];

/** A task of the kernel's own, that nobody's system call runs in. */
export async function kthread(a: Actor, comm: string, body: (task: Task) => Promise<unknown>): Promise<void> {
  await body(new Task(a.sb.sched, a.sb.machine.validator, { comm }));
}

/** Let the others go on for so many milliseconds. */
export function nap(a: Actor, ms: number): Promise<void> {
  return new Promise((resolve) => {
    a.sb.sched.timer(ms, resolve);
  });
}
