/** Pipes (fs/pipe.c): bytes from writers to readers, in order, with room for 64 KiB. They live in a superblock of their own. */

import type { IovIter } from '../mm/iov-iter.js';
import type { Kiocb } from '../mm/operations.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { WaitQueue } from '../sched/wait.js';
import { O_NONBLOCK, O_WRONLY } from '../uapi/fcntl.js';
import { PIPE_BUF } from '../uapi/limits.js';
import { POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from '../uapi/poll.js';
import { d_instantiate } from './dcache-alias.js';
import { Dentry } from './dentry.js';
import { type FasyncList, fasync_helper, kill_fasync, newFasyncList } from './fasync.js';
import { File, FMODE_OPENED, FMODE_READ, FMODE_WRITE } from './file.js';
import { Inode, inode_init } from './inode.js';
import type { dentry_operations, file_operations } from './operations.js';
import { type Machine, SuperBlock } from './super-block.js';

/** Bytes that a pipe holds (pipe_max_size by default). */
export const PIPE_SIZE = 65_536;

export class Pipe {
  readers = 0;
  writers = 0;
  readonly #buffers: Buffer[] = [];
  #bytes = 0;
  readonly #readable = new WaitQueue();
  readonly #writable = new WaitQueue();
  readonly #watchers = new Set<() => void>();
  readonly fasync: FasyncList = newFasyncList();

  /** How often each end was opened. */
  r_counter = 0;
  w_counter = 0;

  /** Bytes in it. */
  get bytes(): number {
    return this.#bytes;
  }

  get room(): number {
    return PIPE_SIZE - this.#bytes;
  }

  /** Call `watch` whenever something changes (poll_wait). @returns what ends that */
  watch(watch: () => void): () => void {
    this.#watchers.add(watch);
    return () => this.#watchers.delete(watch);
  }

  /** Somebody came, went, read or wrote. */
  changed(): void {
    this.#readable.wake_all();
    this.#writable.wake_all();
    for (const watch of [...this.#watchers]) watch();
    kill_fasync(this.fasync);
  }

  /** Take up to `max` bytes that are there. */
  take(max: number): Buffer {
    const parts: Buffer[] = [];
    let left = Math.min(max, this.#bytes);
    this.#bytes -= left;
    while (left > 0) {
      const [first] = this.#buffers;
      if (first === undefined) break;
      const part = first.subarray(0, left);
      if (part.length === first.length) this.#buffers.shift();
      else this.#buffers[0] = first.subarray(part.length);
      left -= part.length;
      parts.push(part);
    }
    this.changed();
    const [only] = parts;
    return parts.length === 1 && only !== undefined ? only : Buffer.concat(parts);
  }

  /** Put bytes in that there is room for; they are the pipe's from now on. */
  put(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#buffers.push(bytes);
    this.#bytes += bytes.length;
    this.changed();
  }

  /** Put bytes back that were taken and not used. */
  putBack(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#buffers.unshift(bytes);
    this.#bytes += bytes.length;
  }

  /** Sleep until there are bytes. @returns false where none will come @throws EAGAIN EINTR */
  async waitReadable(task: Task, nonblock: boolean): Promise<boolean> {
    while (this.#bytes === 0) {
      if (this.writers === 0) return false;
      if (nonblock) throw errno('EAGAIN');
      await this.#readable.wait(task, { interruptible: true, what: 'pipe', lock: this });
    }
    return true;
  }

  /** Sleep until `condition` holds; asked whenever something changes. @throws EINTR */
  async waitUntil(task: Task, condition: () => boolean): Promise<void> {
    while (!condition()) await this.#readable.wait(task, { interruptible: true, what: 'FIFO', lock: this });
  }

  /** Sleep until there is room for `bytes`. @throws EPIPE where nobody reads; EAGAIN EINTR */
  async waitWritable(task: Task, bytes: number, nonblock: boolean): Promise<void> {
    for (;;) {
      if (this.readers === 0) throw errno('EPIPE');
      if (this.room >= bytes) return;
      if (nonblock) throw errno('EAGAIN');
      await this.#writable.wait(task, { interruptible: true, what: 'pipe', lock: this });
    }
  }
}

/** The pipes of FIFOs that are open, by their inode (i_pipe). */
const fifos = new WeakMap<Inode, Pipe>();

/**
 * Open a FIFO (fifo_open): whoever opens one end waits until somebody has the other, a reader not with O_NONBLOCK.
 * @throws ENXIO for a writer with O_NONBLOCK where nobody reads; EINTR
 */
export async function fifo_open(task: Task, inode: Inode, file: File): Promise<void> {
  const pipe = fifos.get(inode) ?? new Pipe();
  const { f_mode: mode, f_flags: flags } = file;
  const reads = (mode & FMODE_READ) !== 0;
  const writes = (mode & FMODE_WRITE) !== 0;
  const nonblock = (flags & O_NONBLOCK) !== 0;
  if (writes && !reads && nonblock && pipe.readers === 0) throw errno('ENXIO');
  fifos.set(inode, pipe);
  file.private_data = pipe;
  const other = (): number => (reads ? pipe.w_counter : pipe.r_counter);
  const before = other();
  if (reads) {
    pipe.readers++;
    pipe.r_counter++;
  }
  if (writes) {
    pipe.writers++;
    pipe.w_counter++;
  }
  pipe.changed();
  if (nonblock || (reads && writes)) return;
  try {
    // One that came and went has been there.
    await pipe.waitUntil(task, () => (reads ? pipe.writers : pipe.readers) > 0 || other() > before);
  } catch (error) {
    release(task, inode, file);
    throw error;
  }
}

/** The pipe behind an open file, or undefined (get_pipe_info). */
export function pipeOf(file: File): Pipe | undefined {
  return file.private_data instanceof Pipe ? file.private_data : undefined;
}

function thePipe(file: File): Pipe {
  const pipe = pipeOf(file);
  if (pipe === undefined) throw errno('EBADF');
  return pipe;
}

async function read_iter(task: Task, iocb: Kiocb, iter: IovIter): Promise<number> {
  const file = iocb.ki_filp as File;
  const pipe = thePipe(file);
  if (iter.count === 0) return 0;
  const nonblock = iocb.nowait === true || (file.f_flags & O_NONBLOCK) !== 0;
  if (!(await pipe.waitReadable(task, nonblock))) return 0;
  return iter.addBytes(pipe.take(iter.count));
}

async function write_iter(task: Task, iocb: Kiocb, iter: IovIter): Promise<number> {
  const file = iocb.ki_filp as File;
  const pipe = thePipe(file);
  const nonblock = (file.f_flags & O_NONBLOCK) !== 0;
  let written = 0;
  try {
    while (iter.count > 0) {
      const whole = written === 0 && iter.count <= PIPE_BUF;
      await pipe.waitWritable(task, whole ? iter.count : 1, nonblock);
      const bytes = Buffer.from(iter.take(Math.min(iter.count, pipe.room)));
      pipe.put(bytes);
      written += bytes.length;
    }
  } catch (error) {
    if (written === 0) throw error;
  }
  return written;
}

function poll(_task: Task, file: File): number {
  const pipe = thePipe(file);
  let mask = 0;
  if ((file.f_mode & FMODE_READ) !== 0) {
    if (pipe.bytes > 0) mask |= POLLIN | POLLRDNORM;
    if (pipe.writers === 0) mask |= POLLHUP;
  }
  if ((file.f_mode & FMODE_WRITE) !== 0) {
    if (pipe.room > 0) mask |= POLLOUT | POLLWRNORM;
    if (pipe.readers === 0) mask |= POLLERR;
  }
  return mask;
}

function release(_task: Task, inode: Inode, file: File): void {
  const pipe = thePipe(file);
  if ((file.f_mode & FMODE_READ) !== 0) pipe.readers--;
  if ((file.f_mode & FMODE_WRITE) !== 0) pipe.writers--;
  pipe.changed();
  if (pipe.readers + pipe.writers === 0) fifos.delete(inode);
}

export const pipefifo_fops: file_operations = {
  read_iter,
  write_iter,
  poll,
  release,
  fasync: (_task, fd, file, on) => fasync_helper(fd, file, on, thePipe(file).fasync),
};

const pipefs_dentry_operations: dentry_operations = {
  d_dname: (_task, dentry) => `pipe:[${dentry.d_inode?.i_ino ?? 0}]`,
};

const pipefs = new WeakMap<Machine, SuperBlock>();
let lastPipe = 0;

function pipefsOf(machine: Machine): SuperBlock {
  let sb = pipefs.get(machine);
  if (sb === undefined) {
    sb = new SuperBlock(machine, 'pipefs');
    sb.s_d_op = pipefs_dentry_operations;
    pipefs.set(machine, sb);
  }
  return sb;
}

/** A pipe's two ends (create_pipe_files): to read from and to write to. @param flags O_NONBLOCK */
export function create_pipe_files(
  task: Task,
  machine: Machine,
  flags: number,
): { readonly read: File; readonly write: File } {
  const sb = pipefsOf(machine);
  const inode = new Inode(sb);
  inode.i_ino = ++lastPipe;
  const attrs = inode_init(inode);
  attrs.i_mode = 0o010600;
  attrs.i_nlink = 0;
  inode.i_fop = pipefifo_fops;
  const dentry = new Dentry(sb, '', undefined, sb.s_d_op);
  d_instantiate(task, dentry, inode);
  const pipe = new Pipe();
  const end = (mode: number, access: number): File => {
    const file = new File(dentry, inode, access | (flags & O_NONBLOCK), mode | FMODE_OPENED, task.cred);
    file.private_data = pipe;
    if (mode === FMODE_READ) inode.i_readcount++;
    else inode.i_writecount++;
    return file;
  };
  dentry.d_count = 2;
  pipe.readers = 1;
  pipe.writers = 1;
  return { read: end(FMODE_READ, 0), write: end(FMODE_WRITE, O_WRONLY) };
}
