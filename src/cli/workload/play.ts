/** One scene on a fresh filesystem in memory, watched. */
import { memoryDevice } from '../../block/memory-device.js';
import { kill_sb, vfs_mount } from '../../fs/super.js';
import { Process, syscalls } from '../../fs/syscalls.js';
import { mkfs } from '../../latch/mkfs.js';
import { latch_fs_type } from '../../latch/super.js';
import type { Violation } from '../../locking/lockdep/violation.js';
import { Lockdep } from '../../locking/lockdep.js';
import { undeclared } from '../../locking/order.js';
import { MemoryControl } from '../../mm/memory.js';
import { RealScheduler } from '../../sched/real.js';
import { Task } from '../../sched/task.js';
import type { LockObserver } from '../../sched/validator.js';
import type { Scene } from './scenes/scene.js';

const MIB = 2 ** 20;
/** Milliseconds after which a scene hangs, on a machine that has much else to do; one takes some twenty. */
const PATIENCE = 30_000;

export interface Played {
  /** What the scene has returned, as text; or how it has failed. */
  readonly result: string;
  readonly violations: readonly Violation[];
  /** Dependencies between locks that were learned and that the declared order does not know. */
  readonly undeclared: readonly string[];
}

/**
 * @param observer told of everything from the mount on
 * @param patience milliseconds after which it hangs
 */
export async function playScene(scene: Scene, observer: LockObserver, patience = PATIENCE): Promise<Played> {
  const sched = new RealScheduler();
  const violations: Violation[] = [];
  const validator = new Lockdep('warn', (violation) => violations.push(violation));
  const memory = new MemoryControl(sched, { limit: 32 * MIB, validator });
  const device = memoryDevice(32 * MIB, sched, validator);
  await mkfs(new Task(sched, validator, { comm: 'mkfs' }), device, { quota: scene.quota === true });
  const play = async (): Promise<string> => {
    validator.observer = observer;
    const sb = await vfs_mount({ sched, validator, memory }, latch_fs_type, device, 0);
    const processes = [new Process(sb), new Process(sb)] as const;
    const result = await scene.run(syscalls(processes[0]), syscalls(processes[1]), sb);
    for (const process of processes) await process.exit();
    return `${JSON.stringify(result)}, ${await kill_sb(sb)} in use`;
  };
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve('hangs'), patience);
  });
  const result = await Promise.race([play().catch((error: unknown) => `fails: ${String(error)}`), late]);
  clearTimeout(timer);
  return { result, violations, undeclared: undeclared(validator.tracker.dependencies()) };
}
