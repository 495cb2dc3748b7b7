/** The stress within this process: some processes make random system calls at once on a filesystem in memory; then it is unmounted and checked. */

import type { BlockDevice } from '../../src/block/block-device.js';
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

/** What the actors share. */
interface Ground {
  readonly sched: RealScheduler;
  readonly validator: Lockdep;
  readonly device: BlockDevice;
  readonly sb: SuperBlock;
}

async function newGround(seed: number, choose: (below: number) => number, faults: string[]): Promise<Ground> {
  const sched = new RealScheduler();
  const validator = new Lockdep('error', (violation) => faults.push(violationText(violation)), {
    stacks: true,
    declared: true,
  });
  const memory = new MemoryControl(sched, { limit: 12 * MIB, validator });
  const memoryOnly = memoryDevice(48 * MIB, sched, validator);
  // A device that is done at once leaves nobody in the middle of anything: with half of the seeds some requests take their time.
  const device = seed % 4 < 2 ? memoryOnly : faultyDevice(memoryOnly, () => delayed(choose), sched, validator);
  // With every other seed it counts what users and groups have, which fsck compares with what there is.
  await mkfs(new Task(sched, validator, { comm: 'mkfs' }), device, { quota: seed % 2 === 1 });
  const sb = await vfs_mount({ sched, validator, memory }, latch_fs_type, device, 0);
  return { sched, validator, device, sb };
}

/** Half of them are children of another, with whom they share what it has opened. */
async function newActors(sb: SuperBlock, choose: (below: number) => number, count: number): Promise<Actor[]> {
  const first = new Actor(sb, numbers(choose(2 ** 31)));
  for (let i = 0; i < 3; i++) await first.sys.mkdir(`/d${i}`, 0o777);
  const all = [first];
  while (all.length < count) {
    const parent = all[choose(all.length)] ?? first;
    const child = choose(2) === 0 ? parent.process.fork({ comm: 'stress' }) : undefined;
    all.push(new Actor(sb, numbers(choose(2 ** 31)), child));
  }
  return all;
}

/** What comes of a run. */
class Course {
  readonly faults: string[] = [];
  refused = 0;
  /** What each actor is doing. */
  readonly #pending = new Map<Actor, string>();

  failed(what: string, error: unknown): void {
    this.faults.push(`${what}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  }

  async live(actor: Actor, calls: number): Promise<void> {
    for (let i = 0; i < calls; i++) {
      const call = someCall(actor.choose);
      this.#pending.set(actor, `call ${i}, ${call.name}`);
      try {
        await call.run(actor);
      } catch (error) {
        if (error instanceof FaultSignal || (error instanceof Errno && error.code !== 'EIO')) this.refused++;
        else this.failed(call.name, error);
      }
    }
    this.#pending.set(actor, 'exit');
    await actor.process.exit().catch((error: unknown) => this.failed('exit', error));
    this.#pending.delete(actor);
  }

  async unmount({ sched, validator, device, sb }: Ground): Promise<void> {
    const left = await kill_sb(sb);
    if (left > 0) this.faults.push(`${left} inodes are in use after unmount`);
    await fsck(new Task(sched, validator, { comm: 'fsck' }), device, (line) => this.faults.push(`fsck: ${line}`));
  }

  /** Wait for the end, or until nothing goes on any more. */
  async watch(end: Promise<void>, validator: Lockdep): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      const look = (before: string): void => {
        const now = [...this.#pending.values()].join('; ');
        if (now === before) {
          this.faults.push(`nothing goes on any more: ${now || 'unmounting'}\n${tasksText(validator)}`);
          resolve();
        } else timer = setTimeout(look, PATIENCE, now);
      };
      timer = setTimeout(look, PATIENCE, 'nothing yet');
    });
    await Promise.race([end, late]);
    clearTimeout(timer);
  }
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
  const course = new Course();
  const choose = numbers(seed);
  const ground = await newGround(seed, choose, course.faults);
  prepare?.(ground.sb);
  const all = await newActors(ground.sb, choose, actors);
  const run = async (): Promise<void> => {
    await Promise.all(all.map((actor) => course.live(actor, callsEach)));
    await course.unmount(ground).catch((error: unknown) => course.failed('unmount', error));
  };
  await course.watch(run(), ground.validator);
  return { calls: actors * callsEach, refused: course.refused, faults: course.faults };
}
