/** System calls on descriptors that may wait for each other: pipes, splicing, poll; and duplicates of descriptors (fs/pipe.c, fs/splice.c, fs/select.c, fs/file.c). */

import { file_operations as rows } from '../../contract/file.js';
import { call } from '../../locking/context.js';
import { type Awaitable, andThen, orElse } from '../../sched/awaitable.js';
import { Errno, errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { sleep_on_timeout, WaitQueue } from '../../sched/wait.js';
import { O_CLOEXEC } from '../../uapi/fcntl.js';
import { POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLRDNORM, POLLWRNORM } from '../../uapi/poll.js';
import { type File, FMODE_READ, FMODE_WRITE } from '../file.js';
import { get_file } from '../file-table.js';
import { create_pipe_files, pipeOf } from '../pipe.js';
import { do_splice, do_splice_direct } from '../splice.js';
import { filp_close, type Process } from './process.js';
import type { Offset } from './range.js';

/** Two descriptors of a new pipe: to read from, to write to. @param flags O_CLOEXEC, O_NONBLOCK @throws EMFILE */
export function pipe2(task: Task, p: Process, flags = 0): readonly [number, number] {
  p.files.reserve();
  const { read: readEnd, write: writeEnd } = create_pipe_files(task, p.machine, flags);
  const close_on_exec = (flags & O_CLOEXEC) !== 0;
  return [p.files.install(readEnd, close_on_exec), p.files.install(writeEnd, close_on_exec)];
}

/** splice(2). @param flags SPLICE_F_* @returns bytes moved @throws EBADF EINVAL ESPIPE EAGAIN EPIPE EINTR */
export function splice(
  task: Task,
  p: Process,
  fdIn: number,
  offsetIn: Offset,
  fdOut: number,
  offsetOut: Offset,
  length: number,
  flags = 0,
): Promise<number> {
  const from = { file: p.files.get(fdIn), offset: offsetIn };
  return do_splice(task, from, { file: p.files.get(fdOut), offset: offsetOut }, length, flags);
}

/** sendfile(2). @param offset where to read; undefined: at the position of `fdIn`, which moves @returns bytes sent @throws EBADF EINVAL; ESPIPE where `fdIn` is a pipe; EAGAIN EPIPE EINTR */
export function sendfile(
  task: Task,
  p: Process,
  fdOut: number,
  fdIn: number,
  offset: Offset,
  length: number,
): Promise<number> {
  const [from, to] = [p.files.get(fdIn), p.files.get(fdOut)];
  if ((from.f_mode & FMODE_READ) === 0 || (to.f_mode & FMODE_WRITE) === 0) throw errno('EBADF');
  if (pipeOf(from) !== undefined) throw errno('ESPIPE');
  return do_splice_direct(task, { file: from, offset }, { file: to, offset: undefined }, length);
}

/** What poll(2) is asked of one descriptor. */
export interface PollFd {
  readonly fd: number;
  /** POLL*. */
  readonly events: number;
}

const ALWAYS = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
/** Told whether asked for or not. */
const UNASKED = POLLERR | POLLHUP | POLLNVAL;

async function pollOne(task: Task, p: Process, { fd, events }: PollFd): Promise<number> {
  let file: File;
  try {
    file = p.files.get(fd);
  } catch {
    return POLLNVAL;
  }
  const { poll: operation } = file.f_op;
  const mask = operation === undefined ? ALWAYS : await call(task, rows.poll, {}, () => operation(task, file));
  return mask & (events | UNASKED);
}

/**
 * poll(2). @param timeout milliseconds, negative: no limit
 * @returns for each descriptor what it is ready for @throws EINTR
 */
export async function poll(task: Task, p: Process, fds: readonly PollFd[], timeout: number): Promise<number[]> {
  const queue = new WaitQueue();
  let changed = false;
  const watches = fds.flatMap(({ fd }) => {
    const pipe = p.files.all().includes(fd) ? pipeOf(p.files.getAny(fd)) : undefined;
    const wake = (): void => {
      changed = true;
      queue.wake_all();
    };
    return pipe === undefined ? [] : [pipe.watch(wake)];
  });
  const until = task.sched.monotonic() + timeout;
  try {
    for (;;) {
      changed = false;
      const masks: number[] = [];
      for (const fd of fds) masks.push(await pollOne(task, p, fd));
      const left = until - task.sched.monotonic();
      if (masks.some((mask) => mask !== 0) || timeout === 0 || (timeout > 0 && left <= 0)) return masks;
      if (changed) continue;
      const options = { interruptible: true, what: 'poll' };
      if (timeout > 0) await sleep_on_timeout(task, queue, left, options);
      else await queue.wait(task, options);
    }
  } finally {
    for (const unwatch of watches) unwatch();
  }
}

/** dup(2): the lowest free descriptor for the same open file. @throws EBADF EMFILE */
export function dup(_task: Task, p: Process, fd: number): number {
  const file = p.files.getAny(fd);
  const copy = p.files.install(file, false);
  get_file(file);
  return copy;
}

/** dup3(2). @param flags O_CLOEXEC @throws EBADF; EINVAL where both are one */
export function dup3(task: Task, p: Process, oldfd: number, newfd: number, flags = 0): Awaitable<number> {
  if ((flags & ~O_CLOEXEC) !== 0 || oldfd === newfd) throw errno('EINVAL');
  const file = p.files.getAny(oldfd);
  const old = p.files.replace(newfd, file, (flags & O_CLOEXEC) !== 0);
  get_file(file);
  if (old === undefined) return newfd;
  // Nobody asks what becomes of the file that was there (do_dup2).
  const closed = orElse(
    () => filp_close(task, p, old),
    (error) => {
      if (!(error instanceof Errno)) throw error;
    },
  );
  return andThen(closed, () => newfd);
}
