/**
 * System calls of processes that live in this process, over the same VFS that a mount is served by: they reach what fuse.ko never forwards. A process is made with
 * `new Process(sb)`; `syscalls(process)` has the calls, each of which runs in a task of its own with the process's identity, and holds nothing afterwards.
 */
import type { Task } from '../sched/task.js';
import * as attr from './syscalls/attr.js';
import * as fcntl from './syscalls/fcntl.js';
import * as fs from './syscalls/fs.js';
import * as io from './syscalls/io.js';
import * as mm from './syscalls/mm.js';
import * as names from './syscalls/names.js';
import * as opening from './syscalls/open.js';
import * as descriptors from './syscalls/poll.js';
import type { Process } from './syscalls/process.js';
import * as quota from './syscalls/quota.js';
import * as range from './syscalls/range.js';

export { Process, type ProcessOptions } from './syscalls/process.js';

/** A system call as it is written: with its task and its process. */
type Call = (task: Task, process: Process, ...args: never[]) => unknown;

/** A system call as a process makes it. */
type Bound<F> = F extends (task: Task, process: Process, ...args: infer A) => unknown
  ? (...args: A) => Promise<Awaited<ReturnType<F>>>
  : never;

/** The system calls of a module, which may export types and numbers besides. */
type CallsOf<M> = { readonly [K in keyof M as M[K] extends Call ? K : never]: Bound<M[K]> };

export interface Syscalls
  extends CallsOf<typeof names>,
    CallsOf<typeof opening>,
    CallsOf<typeof io>,
    CallsOf<typeof range>,
    CallsOf<typeof descriptors>,
    CallsOf<typeof attr>,
    CallsOf<typeof fcntl>,
    CallsOf<typeof mm>,
    CallsOf<typeof fs>,
    CallsOf<typeof quota> {}

type Unbound = (task: Task, process: Process, ...args: unknown[]) => unknown;

function isCall(value: unknown): value is Unbound {
  return typeof value === 'function';
}

/** The system calls of a process. */
export function syscalls(process: Process): Syscalls {
  const bound: Record<string, (...args: unknown[]) => Promise<unknown>> = {};
  for (const module of [names, opening, io, range, descriptors, attr, fcntl, mm, fs, quota]) {
    for (const [name, call] of Object.entries<unknown>(module)) {
      if (isCall(call)) bound[name] = (...args) => process.run(name, (task) => call(task, process, ...args));
    }
  }
  return bound as unknown as Syscalls;
}
