/** What the planted filesystems need: one of them mounted in this process, processes that use it, and reports to compare. */

import { memoryDevice } from '../../src/block/memory-device.js';
import { kill_sb, vfs_mount } from '../../src/fs/super.js';
import type { Machine, SuperBlock } from '../../src/fs/super-block.js';
import { Process, type Syscalls, syscalls } from '../../src/fs/syscalls.js';
import { task_end } from '../../src/locking/context.js';
import { fs_reclaim } from '../../src/locking/lock-map.js';
import type { Violation } from '../../src/locking/lockdep/violation.js';
import { Lockdep } from '../../src/locking/lockdep.js';
import { MemoryControl } from '../../src/mm/memory.js';
import { shrink_node } from '../../src/mm/vmscan.js';
import { locate } from '../../src/report/implementation.js';
import { frames } from '../../src/report/stack.js';
import { RealScheduler } from '../../src/sched/real.js';
import { Task } from '../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../src/uapi/fcntl.js';
import { type Changes, plainfs } from './plainfs.js';

const MIB = 2 ** 20;

/** One planted filesystem at work. */
export interface Stage {
  readonly machine: Machine;
  readonly sb: SuperBlock;
  readonly sys: Syscalls;
  /** A second process. */
  readonly other: Syscalls;
}

/** One report, as a test wants it. */
export interface Report {
  readonly kind: Violation['kind'];
  readonly rule: string;
  /** `section.op` of the operation in which it happened; absent outside any. */
  readonly op?: string;
  /** The locks that were held, `name (mode)`, in the order in which they were taken. */
  readonly held: readonly string[];
  /** The function of the wrong filesystem that the report shows in one of its stacks. */
  readonly at: string;
}

/** A filesystem with one bug. */
export interface Planted {
  /** What is wrong, and how it comes about. */
  readonly bug: string;
  readonly changes: Changes;
  /** Use it so that the bug shows. System calls may fail. */
  provoke(stage: Stage): Promise<unknown>;
  /** What must be reported: this, and nothing else. */
  readonly reports: readonly Report[];
}

/** A filesystem that does something unusual, which is right. */
export interface Unusual {
  readonly what: string;
  readonly changes: Changes;
  /** Use it so that it does that. @returns whether it did */
  use(stage: Stage): Promise<boolean>;
}

/** Mount a filesystem, use it, unmount it. @returns what was reported, each thing once */
export async function play(
  name: string,
  changes: Changes,
  body: (stage: Stage) => Promise<unknown>,
): Promise<Violation[]> {
  const sched = new RealScheduler();
  const seen: Violation[] = [];
  const validator = new Lockdep('warn', (violation) => seen.push(violation), { stacks: true, locate });
  const memory = new MemoryControl(sched, { limit: 16 * MIB, validator });
  const machine: Machine = { sched, validator, memory };
  const memory_device = memoryDevice(64 * MIB, sched, validator);
  const device = changes.device?.(memory_device, sched, validator) ?? memory_device;
  const sb = await vfs_mount(machine, plainfs(name, changes), device, 0);
  const processes = [new Process(sb), new Process(sb)];
  const [first, second] = processes.map(syscalls);
  if (first === undefined || second === undefined) throw new Error('no processes');
  await body({ machine, sb, sys: first, other: second });
  for (const process of processes) await process.exit();
  await kill_sb(sb);
  return seen.filter(({ seen }) => seen === 0);
}

/** Every stack of a report. */
function stacksOf(violation: Violation): string[] {
  return [
    violation.stack,
    ...violation.held.map(({ stack }) => stack ?? ''),
    ...(violation.order?.chain.map(({ stack }) => stack) ?? []),
    ...(violation.order?.usages?.map(({ stack }) => stack) ?? []),
    ...(violation.circle?.map(({ stack }) => stack) ?? []),
  ];
}

/** The functions of a file of test/planted that a report shows, innermost first. */
export function functionsIn(violation: Violation, file: string): string[] {
  const { implementation } = violation;
  const shown = implementation === undefined ? [] : frames(`    at ${implementation}`);
  return [...shown, ...stacksOf(violation).flatMap(frames)]
    .filter((frame) => frame.file === file)
    .map(({ name }) => name.replace(/^Object\./, ''));
}

/** A report as tests compare it; `at` is the one wanted where the report shows it. */
export function reportOf(violation: Violation, wanted: Report | undefined, file: string): Report {
  const shown = functionsIn(violation, file);
  const at = wanted !== undefined && shown.includes(wanted.at) ? wanted.at : shown.join(', ');
  return {
    kind: violation.kind,
    rule: violation.rule,
    ...(violation.row === undefined ? {} : { op: violation.row }),
    held: violation.held.map(({ lock, mode }) => `${lock} (${mode})`),
    at,
  };
}

/** What kswapd does where memory is short: two passes, because a page that was used goes in the second. */
export async function reclaim({ sched, validator, memory }: Machine): Promise<void> {
  const task = new Task(sched, validator, { comm: 'kswapd' });
  const inside = fs_reclaim.enter(task);
  await shrink_node(task, memory, 1, 4);
  await shrink_node(task, memory, 1, 4);
  inside.release();
  task_end(task);
}

/** Swap to a file for a while. */
export async function swapping({ sys }: Stage): Promise<void> {
  const fd = await sys.open('/s', O_CREAT | O_RDWR, 0o600);
  await sys.pwrite(fd, Buffer.alloc(32_768), 0);
  await sys.fsync(fd);
  await sys.swapon(fd);
  await sys.swapoff(fd);
}

/** The number of a file, as the argument of an ioctl. */
export async function inoOf(sys: Syscalls, name: string): Promise<Buffer> {
  const arg = Buffer.alloc(4);
  arg.writeInt32LE((await sys.stat(name)).ino);
  return arg;
}

/** Wait for a system call that may fail. @returns the errno's name, or 'ok' */
export function outcome(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => 'ok',
    (error: unknown) => (error instanceof Error && 'code' in error ? String(error.code) : String(error)),
  );
}
