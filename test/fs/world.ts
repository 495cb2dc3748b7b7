/** What tests of the VFS need: latch mounted in this process on a device in memory, and tasks of users. */
import { type FaultPolicy, faultyDevice } from '../../src/block/faulty-device.js';
import { memoryDevice } from '../../src/block/memory-device.js';
import type { Row } from '../../src/contract/row.js';
import type { Dentry } from '../../src/fs/dentry.js';
import type { Inode } from '../../src/fs/inode.js';
import { kill_sb, vfs_mount } from '../../src/fs/super.js';
import type { Machine, SuperBlock } from '../../src/fs/super-block.js';
import { mkfs } from '../../src/latch/mkfs.js';
import { latch_fs_type } from '../../src/latch/super.js';
import { task_end } from '../../src/locking/context.js';
import type { Violation } from '../../src/locking/lockdep/violation.js';
import { Lockdep } from '../../src/locking/lockdep.js';
import { MemoryControl } from '../../src/mm/memory.js';
import { Onlooker } from '../../src/report/observed.js';
import type { Awaitable } from '../../src/sched/awaitable.js';
import { RealScheduler } from '../../src/sched/real.js';
import type { Timer } from '../../src/sched/scheduler.js';
import { type Cred, ROOT_CRED, Task, userCred } from '../../src/sched/task.js';
import type { Timespec } from '../../src/sched/time.js';

export interface World {
  readonly machine: Machine;
  readonly sb: SuperBlock;
  readonly root: Dentry;
  /** Broken rules so far. */
  readonly violations: Violation[];
  task(cred?: Cred): Task;
  /** Run `body` in a task of its own, to its end. */
  run<T>(body: (task: Task) => Awaitable<T>, cred?: Cred): Promise<T>;
  /** Unmount. @returns how many inodes were still in use */
  end(): Promise<number>;
}

const MIB = 2 ** 20;

export interface WorldOptions {
  /** Bytes of the device, of the page cache. */
  readonly size?: number;
  readonly memory?: number;
  /** SB_*. */
  readonly flags?: number;
  readonly sched?: RealScheduler;
  /** Count what users and groups have. */
  readonly quota?: boolean;
  /** A journal and checksums, as images have them; the default. */
  readonly journal?: boolean;
  /** Which requests of the device fail. */
  readonly faults?: FaultPolicy;
  /** Where the log goes. */
  readonly printk?: (line: string) => void;
  readonly writeback?: Machine['writeback'];
  readonly multigrain?: boolean;
}

export async function newWorld(options: WorldOptions = {}): Promise<World> {
  const sched = options.sched ?? new RealScheduler();
  const violations: Violation[] = [];
  const validator = new Lockdep('warn', (violation) => violations.push(violation), { stacks: true });
  const memory = new MemoryControl(sched, { limit: options.memory ?? 64 * MIB, validator });
  const { printk, writeback, multigrain = true } = options;
  const machine: Machine = {
    sched,
    validator,
    memory,
    multigrain,
    ...(printk === undefined ? {} : { printk }),
    ...(writeback === undefined ? {} : { writeback }),
  };
  const device = memoryDevice(options.size ?? 64 * MIB, sched, validator);
  await mkfs(new Task(sched, validator, { comm: 'mkfs' }), device, {
    quota: options.quota === true,
    journal: options.journal ?? true,
  });
  const { faults } = options;
  const under = faults === undefined ? device : faultyDevice(device, faults, sched, validator);
  const sb = await vfs_mount(machine, latch_fs_type, under, options.flags ?? 0);
  const { s_root: root } = sb;
  if (root === undefined) throw new Error('no root');
  const task = (cred: Cred = ROOT_CRED): Task => new Task(sched, validator, { comm: 'test', pid: 100, cred });
  return {
    machine,
    sb,
    root,
    violations,
    task,
    run: async (body, cred) => {
      const own = task(cred);
      try {
        return await sched.run(() => body(own));
      } finally {
        task_end(own);
      }
    },
    end: () => kill_sb(sb),
  };
}

/** A scheduler whose clocks stand still, but for `advance`, which lets the timers fire that are due. */
export class StillClock extends RealScheduler {
  #now = 1_000_000;
  readonly #timers = new Set<{ readonly due: number; readonly fire: () => void }>();

  override monotonic(): number {
    return this.#now;
  }

  override realtime(): Timespec {
    const ms = 1_700_000_000_000 + this.#now;
    return { sec: Math.floor(ms / 1000), nsec: Math.floor((ms % 1000) * 1e6) };
  }

  override coarse(): Timespec {
    const { sec, nsec } = this.realtime();
    return { sec, nsec: nsec - (nsec % 4e6) };
  }

  override stamp(): Timespec {
    return this.coarse();
  }

  override timer(delay: number, fire: () => void): Timer {
    const timer = { due: this.#now + delay, fire };
    this.#timers.add(timer);
    return { cancel: () => this.#timers.delete(timer) };
  }

  /** Let `ms` milliseconds go by, and everything come to rest that this sets off. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms;
    for (;;) {
      const [next] = [...this.#timers].filter(({ due }) => due <= until).sort((a, b) => a.due - b.due);
      if (next === undefined) break;
      this.#now = Math.max(this.#now, next.due);
      this.#timers.delete(next);
      next.fire();
      await this.rest();
    }
    this.#now = until;
    await this.rest();
  }

  /** Wait until no task runs. */
  async rest(): Promise<void> {
    do await new Promise((resolve) => setImmediate(resolve));
    while (this.runnable > 0);
  }
}

/** A user without capabilities. */
export function user(uid: number, gid = uid, groups: readonly number[] = []): Cred {
  return userCred(uid, gid, () => groups);
}

export function inodeOf(dentry: Dentry): Inode {
  if (dentry.d_inode === undefined) throw new Error(`${dentry.d_name} does not exist`);
  return dentry.d_inode;
}

/** Call, and give the errno's name that it throws or rejects with, or 'ok'. */
export async function outcome(body: () => unknown): Promise<string> {
  try {
    await body();
    return 'ok';
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error);
  }
}

/** The operations that are called while `body` runs, in order, by name. */
export async function opsCalled(
  { machine: { validator } }: Pick<World, 'machine'>,
  body: () => unknown,
): Promise<string[]> {
  if (!(validator instanceof Lockdep)) throw new Error('nobody validates');
  const called: string[] = [];
  class Names extends Onlooker {
    override entered(_task: Task, { op }: Row): void {
      called.push(op);
    }
  }
  validator.observer = new Names();
  try {
    await body();
  } finally {
    validator.observer = undefined;
  }
  return called;
}
