/** Processes of ours: who they are, where they are, what they have open (struct task_struct, as far as system calls on files ask). */
import { task_end } from '../../locking/context.js';
import { run_as } from '../../locking/held.js';
import { type Awaitable, allInTurn, isPromise } from '../../sched/awaitable.js';
import { Errno, errno } from '../../sched/errno.js';
import { type Cred, ROOT_CRED, Task } from '../../sched/task.js';
import { dget, dput } from '../dcache.js';
import type { Dentry } from '../dentry.js';
import type { File } from '../file.js';
import { filp_flush, fput, get_file } from '../file-table.js';
import { locks_remove_posix } from '../locks.js';
import type { FsStruct } from '../namei/walk.js';
import type { Machine, SuperBlock } from '../super-block.js';
import { FdTable } from './fdtable.js';
import { exit_mm } from './process-mm.js';

export interface ProcessOptions {
  readonly cred?: Cred;
  readonly umask?: number;
  readonly comm?: string;
  /** RLIMIT_FSIZE, bytes. */
  readonly fsize?: number;
  /** False: its machine does not translate addresses (CONFIG_MMU is off). */
  readonly mmu?: boolean;
}

let lastPid = 1000;

export class Process {
  readonly pid = ++lastPid;
  readonly comm: string;
  readonly machine: Machine;
  readonly fs: FsStruct;
  /** The descriptors; also who owns the process's POSIX locks (files_struct). */
  readonly files: FdTable;
  cred: Cred;
  umask: number;
  /** RLIMIT_FSIZE, bytes. */
  fsize: number;
  /** Its addresses are translated. */
  readonly mmu: boolean;
  /** Signals that it has been sent, oldest first. */
  readonly signals: string[] = [];
  readonly #running = new Set<Task>();
  readonly #sb: SuperBlock;

  /** @param sb what is at '/' @param from whose child it is; without one it has nothing open */
  constructor(sb: SuperBlock, options: ProcessOptions = {}, from?: Process) {
    this.machine = sb.machine;
    this.#sb = sb;
    this.cred = options.cred ?? from?.cred ?? ROOT_CRED;
    this.umask = options.umask ?? from?.umask ?? 0o022;
    this.comm = options.comm ?? from?.comm ?? 'test';
    this.mmu = options.mmu ?? from?.mmu ?? true;
    this.fsize = options.fsize ?? from?.fsize ?? Number.POSITIVE_INFINITY;
    const root = from?.fs.root ?? sb.s_root;
    if (root === undefined) throw errno('ENODEV');
    this.fs = { root: dget(root), cwd: dget(from?.fs.cwd ?? root) };
    this.files = from?.files.copy() ?? new FdTable();
    for (const fd of this.files.all()) get_file(this.files.getAny(fd));
  }

  /** A child with the same open files, directory and identity (fork). */
  fork(options: ProcessOptions = {}): Process {
    return new Process(this.#sb, options, this);
  }

  /** Send a signal: waits that signals can end, end with EINTR. SIGIO is only noted. The process survives all but SIGKILL, after which killable waits end, too. */
  signal(name: string): void {
    this.signals.push(name);
    if (name === 'SIGIO') return;
    for (const task of this.#running) task.interrupt(name === 'SIGKILL');
  }

  /**
   * Run a system call in a task of its own.
   * @param name of the system call, for reports
   * @throws what `body` throws
   */
  async run<T>(name: string, body: (task: Task) => Awaitable<T>): Promise<T> {
    const { sched, validator } = this.machine;
    const task = new Task(sched, validator, { comm: this.comm, pid: this.pid, cred: this.cred });
    task.umask = this.umask;
    task.syscall = name;
    this.#running.add(task);
    try {
      const result = sched.run(() => run_as(task, () => body(task)));
      return isPromise(result) ? await result : result;
    } finally {
      this.#running.delete(task);
      task_end(task);
    }
  }

  /** Another program takes over: descriptors with FD_CLOEXEC are closed (execve). */
  exec(): Promise<void> {
    return this.run('execve', async (task) => {
      await exit_mm(task, this);
      await this.#closeAll(task, (fd) => this.files.getCloseOnExec(fd));
    });
  }

  /** It ends: everything is closed (exit). */
  exit(): Promise<void> {
    return this.run('exit', async (task) => {
      await exit_mm(task, this);
      await this.#closeAll(task, () => true);
      await dput(task, this.fs.cwd);
      await dput(task, this.fs.root);
    });
  }

  /** Whatever a filesystem reports, there is nobody left to be told (close_files, do_close_on_exec). */
  async #closeAll(task: Task, which: (fd: number) => boolean): Promise<void> {
    for (const fd of this.files.all().filter(which)) {
      try {
        await close_fd(task, this, fd);
      } catch (error) {
        if (!(error instanceof Errno)) throw error;
      }
    }
  }
}

/** close(2). The descriptor is gone also where this throws. @throws EBADF; what ->flush throws */
export async function close_fd(task: Task, process: Process, fd: number): Promise<void> {
  await filp_close(task, process, process.files.remove(fd));
}

/** A file has lost a descriptor of a process (filp_close). Takes over the reference. @throws what the filesystem reports: it is closed all the same */
export async function filp_close(task: Task, process: Process, file: File): Promise<void> {
  await allInTurn([
    () => filp_flush(task, file),
    () => locks_remove_posix(task, file, process.files),
    () => fput(task, file),
  ]);
}

/** Go to another directory (set_fs_pwd). Takes over the reference. */
export async function set_fs_pwd(task: Task, process: Process, path: Dentry): Promise<void> {
  const { cwd } = process.fs;
  process.fs.cwd = path;
  await dput(task, cwd);
}
