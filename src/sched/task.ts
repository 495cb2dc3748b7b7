/** A Task is what `current` is in the kernel: who is calling, what it holds, what it waits for. Passed explicitly, first. */
import type { Row } from '../contract/row.js';
import type { OpNode } from './op-node.js';
import type { Scheduler } from './scheduler.js';
import type { HeldLock, LockWatch, Validator } from './validator.js';

/** Who is calling (struct cred, as far as a filesystem asks). */
export interface Cred {
  /** The filesystem user id. */
  readonly uid: number;
  /** The filesystem group id. */
  readonly gid: number;
  /** Supplementary groups; looked up only when asked for. */
  groups(): readonly number[];
  /** True where the caller has the capability: for root all, unless the caller says otherwise. */
  capable(capability: Capability): boolean;
}

export type Capability =
  | 'CAP_CHOWN'
  | 'CAP_DAC_OVERRIDE'
  | 'CAP_DAC_READ_SEARCH'
  | 'CAP_FOWNER'
  | 'CAP_FSETID'
  | 'CAP_MKNOD'
  | 'CAP_SYS_ADMIN'
  | 'CAP_SYS_RESOURCE'
  | 'CAP_LEASE'
  | 'CAP_LINUX_IMMUTABLE';

const NO_GROUPS: readonly number[] = [];

/** The superuser, for the machine's own tasks: writeback, journal, mount. */
export const ROOT_CRED: Cred = { uid: 0, gid: 0, groups: () => NO_GROUPS, capable: () => true };

/** A user without capabilities; uid 0 has all of them. */
export function userCred(uid: number, gid: number, groups: () => readonly number[] = () => NO_GROUPS): Cred {
  return { uid, gid, groups, capable: () => uid === 0 };
}

/** In which context a task runs: as a process that may sleep, or as a completion ("interrupt") that may not. */
export type TaskContext = 'process' | 'completion';

let lastId = 0;

export class Task {
  readonly id: number;
  /** What runs: 'fuse', 'flush', 'jbd', or the process's name. */
  readonly comm: string;
  /** The caller's process id, 0 for the machine's own tasks. */
  readonly pid: number;
  /** Who acts: the caller, or for a while the one by whose rights an operation works (override_creds). */
  cred: Cred;
  /** The caller's umask; 0 where the kernel has applied it already. */
  umask = 0;
  /** Permissions were checked before the request came here: by the kernel, for a mount with default_permissions. */
  permitted = false;
  /** Nobody knows for whom it works, so that its identity makes no exceptions: pages that a kernel writes back some time. */
  anonymous = false;
  readonly sched: Scheduler;
  readonly validator: Validator;
  readonly context: TaskContext;
  /** The system call or request, for reports: 'FUSE_READ', 'fsync'. */
  syscall = '';
  /** The innermost operation under way, with those around it. */
  op: OpNode | undefined;
  /** The locks held, in the order in which they were taken. */
  readonly held: HeldLock[] = [];
  /** How many locks it has taken so far: the number of each guard tells what was taken before and after a moment. */
  taken = 0;
  /** Where the locks held stand in the validator's chains; its own business. */
  chain: object | undefined;
  /** Locks that operations under way are to take, innermost first. */
  watch: LockWatch | undefined;
  /** Guards that it holds, and locks that were given back for it, which were reported already. */
  excused: WeakSet<object> | undefined;
  /** How many reasons there are not to sleep: spinlocks, RCU sections, operations that may not block. */
  atomic = 0;
  /** The rule that forbids to sleep, where that is neither a lock's nor a row's. */
  atomicRule: string | undefined;
  /** How often it was reported to sleep where it may not: what follows from one that was is not reported again. */
  toldAsleep = 0;
  /** How many reasons there are for completions to stay away (local_irq_disable). */
  completionsOff = 0;
  /** What it waits for now, in words, and the lock if it is one. */
  waitingFor: { readonly what: string; readonly lock: object | undefined } | undefined;
  /** A signal is pending: interruptible waits end with EINTR (signal_pending). */
  signalled = false;
  /** One that ends the process is: killable waits end with EINTR as well (fatal_signal_pending). */
  killed = false;
  /** The filesystem's own state for this task (current->journal_info): an open transaction handle. */
  journal_info: object | undefined;
  /** Pages on which it has begun writeback, and requests that it has sent to devices, so far. */
  nr_writeback = 0;
  nr_ios = 0;
  /** Why the writepage that it runs was called: to clean memory, where it should not wait for I/O under way, or for a sync. */
  writepage_mode: 'WBC_SYNC_NONE' | 'WBC_SYNC_ALL' | undefined;
  #wakeInterruptible: (() => void) | undefined;
  /** What it waits in ends by a fatal signal only. */
  #killable = false;

  constructor(sched: Scheduler, validator: Validator, options: TaskOptions = {}) {
    this.id = ++lastId;
    this.sched = sched;
    this.validator = validator;
    this.comm = options.comm ?? 'latchfs';
    this.pid = options.pid ?? 0;
    this.cred = options.cred ?? ROOT_CRED;
    this.context = options.context ?? 'process';
    if (this.context === 'completion') {
      this.atomic = 1;
      this.completionsOff = 1;
    }
  }

  /** The innermost operation, or undefined. */
  get row(): Row | undefined {
    return this.op?.row;
  }

  /** The operations under way, outermost first. */
  get ops(): readonly Row[] {
    return this.op?.rows() ?? [];
  }

  /** Deliver a signal: an interruptible wait ends now, and later ones end at once. @param fatal it ends the process, so that killable waits end, too */
  interrupt(fatal = true): void {
    this.signalled = true;
    if (fatal) this.killed = true;
    if (this.killed || !this.#killable) this.#wakeInterruptible?.();
  }

  /** For wait queues only: what an interrupt must call while this task waits interruptibly. @param killable only a fatal one must */
  onInterrupt(wake: (() => void) | undefined, killable = false): void {
    this.#wakeInterruptible = wake;
    this.#killable = killable;
  }
}

export interface TaskOptions {
  readonly comm?: string;
  readonly pid?: number;
  readonly cred?: Cred;
  readonly context?: TaskContext;
}
