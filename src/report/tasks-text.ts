/** The tasks that sleep, as text: what each waits for and for how long, who has it, and what it holds meanwhile. */
import { describeTask, type Sleeper } from '../locking/lockdep/waits.js';
import type { Lockdep } from '../locking/lockdep.js';

/** The lines about one task that sleeps. */
export function sleeperText({ task, blockers, since }: Sleeper): string[] {
  const slept = Math.round(task.sched.monotonic() - since);
  const lines = [`${describeTask(task)}: waits for ${task.waitingFor?.what ?? 'an event'} since ${slept} ms`];
  const holders = blockers?.() ?? [];
  if (holders.length > 0) lines.push(`  held by ${holders.map(describeTask).join(', ')}`);
  for (const held of task.held) {
    const where = held.takenIn === undefined ? '' : `, taken in ${held.takenIn.section}.${held.takenIn.op}`;
    lines.push(`  holds ${held.name} (${held.mode}${where})`);
  }
  if (task.ops.length > 0) lines.push(`  in ${task.ops.map((op) => `${op.section}.${op.op}`).join(' > ')}`);
  return lines;
}

/** One block of lines a task, the longest sleeper first. Tasks that run are not there: whoever reads this has them waiting. */
export function tasksText(lockdep: Lockdep): string {
  const sleepers = [...lockdep.waits.sleepers.values()].sort((a, b) => a.since - b.since);
  const head = `${sleepers.length} ${sleepers.length === 1 ? 'task sleeps' : 'tasks sleep'}`;
  return `${[head, ...sleepers.flatMap(sleeperText)].join('\n')}\n`;
}
