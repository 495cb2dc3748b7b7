/** The stress within this process: some processes make random system calls at once on a filesystem in memory; then it is unmounted and checked. */
import { type Fault, faultyDevice } from '../../src/block/faulty-device.js';
import { memoryDevice } from '../../src/block/memory-device.js';
import { kill_sb, vfs_mount } from '../../src/fs/super.js';
import type { SuperBlock } from '../../src/fs/super-block.js';
import { fsck } from '../../src/latch/fsck/fsck.js';
import { mkfs } from '../../src/latch/mkfs.js';
import { latch_fs_type } from '../../src/latch/super.js';
import { Lockdep } from '../../src/locking/lockdep.js';
import { FaultSignal } from '../../src/mm/gup.js';
import { MemoryControl } from '../../src/mm/memory.js';
import { tasksText } from '../../src/report/tasks-text.js';
import { violationText } from '../../src/report/violation-text.js';
import { Errno } from '../../src/sched/errno.js';
import { RealScheduler } from '../../src/sched/real.js';
import { Task } from '../../src/sched/task.js';
import { Actor, numbers } from './actor.js';
import { someCall } from './calls.js';
import type { Outcome } from './outcome.js';

const MIB = 2 ** 20;
/** Milliseconds after which a call hangs. */
const PATIENCE = 60_000;

/** How long a request takes: half of them no time at all. */
function delayed(choose: (below: number) => number): Fault | undefined {
  return choose(2) === 0 ? undefined : { delay: choose(3) };
}

/**
 * @param seed the same one gives the same calls, though not the same order of those that wait for each other
 * @param prepare may change the filesystem before it is used: the proof that faults are seen
 */
export async function stressInside(
  seed: number,
  actors: number,
  callsEach: number,
  prepare?: (sb: SuperBlock) => void,
): Promise<Outcome> {
  const faults: string[] = [];
  const sched = new RealScheduler();
  const validator = new Lockdep('error', (violation) => faults.push(violationText(violation)), {
    stacks: true,
    declared: true,
  });
  const memory = new MemoryControl(sched, { limit: 12 * MIB, validator });
  const memoryOnly = memoryDevice(48 * MIB, sched, validator);
  const choose = numbers(seed);
  // A device that is done at once leaves nobody in the middle of anything: with half of the seeds some requests take their time.
  const device = seed % 4 < 2 ? memoryOnly : faultyDevice(memoryOnly, () => delayed(choose), sched, validator);
  // With every other seed it counts what users and groups have, which fsck compares with what there is.
  await mkfs(new Task(sched, validator, { comm: 'mkfs' }), device, { quota: seed % 2 === 1 });
  const sb = await vfs_mount({ sched, validator, memory }, latch_fs_type, device, 0);
  prepare?.(sb);
  const first = new Actor(sb, numbers(choose(2 ** 31)));
  for (let i = 0; i < 3; i++) await first.sys.mkdir(`/d${i}`, 0o777);
  const all = [first];
  // Half of them are children of another, with whom they share what it has opened.
  while (all.length < actors) {
    const parent = all[choose(all.length)] ?? first;
    const child = choose(2) === 0 ? parent.process.fork({ comm: 'stress' }) : undefined;
    all.push(new Actor(sb, numbers(choose(2 ** 31)), child));
  }
  let refused = 0;
  const failed = (what: string, error: unknown): void => {
    faults.push(`${what}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  };
  const pending = new Map<Actor, string>();
  const live = async (actor: Actor): Promise<void> => {
    for (let i = 0; i < callsEach; i++) {
      const call = someCall(actor.choose);
      pending.set(actor, `call ${i}, ${call.name}`);
      try {
        await call.run(actor);
      } catch (error) {
        if (error instanceof FaultSignal || (error instanceof Errno && error.code !== 'EIO')) refused++;
        else failed(call.name, error);
      }
    }
    pending.set(actor, 'exit');
    await actor.process.exit().catch((error: unknown) => failed('exit', error));
    pending.delete(actor);
  };
  const unmount = async (): Promise<void> => {
    const left = await kill_sb(sb);
    if (left > 0) faults.push(`${left} inodes are in use after unmount`);
    await fsck(new Task(sched, validator, { comm: 'fsck' }), device, (line) => faults.push(`fsck: ${line}`));
  };
  const end = async (): Promise<void> => {
    await Promise.all(all.map(live));
    await unmount().catch((error: unknown) => failed('unmount', error));
  };
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    const look = (before: string): void => {
      const now = [...pending.values()].join('; ');
      if (now === before) {
        faults.push(`nothing goes on any more: ${now || 'unmounting'}\n${tasksText(validator)}`);
        resolve();
      } else timer = setTimeout(look, PATIENCE, now);
    };
    timer = setTimeout(look, PATIENCE, 'nothing yet');
  });
  await Promise.race([end(), late]);
  clearTimeout(timer);
  return { calls: actors * callsEach, refused, faults };
}
