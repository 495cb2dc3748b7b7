/** fcntl(2), flock(2) and ioctl(2) of processes (fs/fcntl.c, fs/locks.c, fs/ioctl.c). */

import type { Awaitable } from '../../sched/awaitable.js';
import { Errno, errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN } from '../../uapi/fcntl.js';
import { FICLONE, FICLONERANGE, FIDEDUPERANGE, FIONREAD } from '../../uapi/ioctl.js';
import { type FileOwner, f_getown, f_setown } from '../fasync.js';
import type { Flock } from '../fcntl.js';
import { fcntl_getlk, fcntl_setlease, fcntl_setlk, setfl } from '../fcntl.js';
import { type File, FMODE_READ, FMODE_WRITE } from '../file.js';
import { get_file } from '../file-table.js';
import { compat_ioctl, vfs_ioctl } from '../ioctl.js';
import type { FileLockType } from '../locks/file-lock.js';
import { fcntl_getlease } from '../locks/leases.js';
import { OFFSET_MAX } from '../locks/lock-list.js';
import { vfs_flock } from '../locks.js';
import { pipeOf } from '../pipe.js';
import { dedupe_length, vfs_dedupe_file_range_one, vfs_remap_file_range } from '../remap-range.js';
import type { Process } from './process.js';

/** F_GETFD. @returns FD_CLOEXEC or 0 */
export function fcntl_getfd(_task: Task, p: Process, fd: number): number {
  return p.files.getCloseOnExec(fd) ? 1 : 0;
}

/** F_SETFD. @param flags FD_CLOEXEC or 0 */
export function fcntl_setfd(_task: Task, p: Process, fd: number, flags: number): void {
  p.files.setCloseOnExec(fd, (flags & 1) !== 0);
}

/** F_GETFL. @returns O_* of the open file */
export function fcntl_getfl(_task: Task, p: Process, fd: number): number {
  return p.files.getAny(fd).f_flags;
}

/** F_SETFL: O_APPEND, O_NONBLOCK, O_ASYNC, O_DIRECT, O_NOATIME. @throws EPERM EINVAL EBADF */
export function fcntl_setfl(task: Task, p: Process, fd: number, flags: number): Promise<void> {
  return setfl(task, p.files.get(fd), flags);
}

/** F_DUPFD and F_DUPFD_CLOEXEC. @param from the lowest descriptor that will do @throws EINVAL EMFILE EBADF */
export function fcntl_dupfd(_task: Task, p: Process, fd: number, from: number, close_on_exec = false): number {
  const file = p.files.getAny(fd);
  if (from < 0) throw errno('EINVAL');
  const copy = p.files.install(file, close_on_exec, from);
  get_file(file);
  return copy;
}

/** F_SETOWN: who gets SIGIO. */
export function fcntl_setown(_task: Task, p: Process, fd: number, owner: FileOwner | undefined): void {
  f_setown(p.files.get(fd), owner);
}

/** F_GETOWN. @throws EBADF */
export function fcntl_getown(_task: Task, p: Process, fd: number): FileOwner | undefined {
  return f_getown(p.files.get(fd));
}

/** A whole-file request, or a part of it. */
export type FlockRequest = Partial<Flock> & { readonly l_type: FileLockType };

function complete(request: FlockRequest): Flock {
  return { l_whence: 0, l_start: 0, l_len: 0, l_pid: 0, ...request };
}

/** F_SETLK, with `wait` F_SETLKW. @throws EAGAIN EDEADLK EINTR EBADF EINVAL */
export function fcntl_lock(task: Task, p: Process, fd: number, request: FlockRequest, wait = false): Awaitable<void> {
  return fcntl_setlk(task, p.files.get(fd), complete(request), { kind: 'posix', owner: p.files }, wait);
}

/** F_GETLK. @returns the lock in the way, or F_UNLCK */
export function fcntl_testlock(task: Task, p: Process, fd: number, request: FlockRequest): Awaitable<Flock> {
  return fcntl_getlk(task, p.files.get(fd), complete(request), { kind: 'posix', owner: p.files });
}

/** F_OFD_SETLK, with `wait` F_OFD_SETLKW. */
export function fcntl_ofd_lock(
  task: Task,
  p: Process,
  fd: number,
  request: FlockRequest,
  wait = false,
): Awaitable<void> {
  return fcntl_setlk(task, p.files.get(fd), complete(request), { kind: 'ofd' }, wait);
}

/** F_OFD_GETLK. */
export function fcntl_ofd_testlock(task: Task, p: Process, fd: number, request: FlockRequest): Awaitable<Flock> {
  return fcntl_getlk(task, p.files.get(fd), complete(request), { kind: 'ofd' });
}

/** F_SETLEASE: the process is told with SIGIO when somebody wants what the lease excludes. @throws EACCES EINVAL EAGAIN */
export function fcntl_lease(task: Task, p: Process, fd: number, type: FileLockType): Awaitable<void> {
  return fcntl_setlease(task, p.files.get(fd), type, p);
}

/** F_GETLEASE. */
export function fcntl_testlease(task: Task, p: Process, fd: number): FileLockType {
  return fcntl_getlease(task, p.files.get(fd));
}

/** flock(2). @param operation LOCK_SH, LOCK_EX or LOCK_UN, with LOCK_NB @throws EAGAIN EINTR EINVAL EBADF */
export function flock(task: Task, p: Process, fd: number, operation: number): Awaitable<void> {
  const file = p.files.get(fd);
  const types: Readonly<Record<number, FileLockType>> = {
    [LOCK_SH]: 'F_RDLCK',
    [LOCK_EX]: 'F_WRLCK',
    [LOCK_UN]: 'F_UNLCK',
  };
  const type = types[operation & ~LOCK_NB];
  if (type === undefined) throw errno('EINVAL');
  if (type !== 'F_UNLCK' && (file.f_mode & (FMODE_READ | FMODE_WRITE)) === 0) throw errno('EBADF');
  return vfs_flock(task, file, {
    kind: 'flock',
    type,
    owner: file,
    pid: p.pid,
    file,
    start: 0,
    end: OFFSET_MAX,
    wait: (operation & LOCK_NB) === 0,
  });
}

/** FICLONE has a descriptor for an argument, FICLONERANGE struct file_clone_range. @throws EFAULT EBADF, and as vfs_remap_file_range */
async function clone(task: Task, p: Process, to: File, cmd: number, arg: Buffer): Promise<Buffer> {
  if (arg.length < (cmd === FICLONE ? 4 : 32)) throw errno('EFAULT');
  if (cmd === FICLONE) await vfs_remap_file_range(task, p.files.get(arg.readInt32LE(0)), 0, to, 0, 0, 0);
  else {
    const from = p.files.get(Number(arg.readBigInt64LE(0)));
    const [posIn, length, posOut] = [8, 16, 24].map((at) => Number(arg.readBigUInt64LE(at)));
    await vfs_remap_file_range(task, from, posIn ?? 0, to, posOut ?? 0, length ?? 0, 0);
  }
  return Buffer.alloc(0);
}

/** Bytes of struct file_dedupe_range, and of each target that follows it. */
const DEDUPE_HEADER = 24;
const DEDUPE_INFO = 32;
/** FILE_DEDUPE_RANGE_DIFFERS: no errno, but that the bytes are others. */
const DIFFERS = 1;

/** FIDEDUPERANGE: struct file_dedupe_range, whose targets come back with what became of them. @throws EFAULT EBADF, and as dedupe_length */
async function dedupe(task: Task, p: Process, source: File, arg: Buffer): Promise<Buffer> {
  const count = arg.length < DEDUPE_HEADER ? Number.POSITIVE_INFINITY : arg.readUInt16LE(16);
  if (arg.length < DEDUPE_HEADER + count * DEDUPE_INFO) throw errno('EFAULT');
  const [offset, asked] = [Number(arg.readBigUInt64LE(0)), Number(arg.readBigUInt64LE(8))];
  if (arg.readUInt16LE(18) !== 0 || arg.readUInt32LE(20) !== 0) throw errno('EINVAL');
  const length = dedupe_length(source, offset, asked);
  const answer = Buffer.from(arg);
  for (let at = DEDUPE_HEADER; at < DEDUPE_HEADER + count * DEDUPE_INFO; at += DEDUPE_INFO) {
    answer.writeBigUInt64LE(0n, at + 16);
    try {
      const file = p.files.get(Number(arg.readBigInt64LE(at)));
      const target = { file, offset: Number(arg.readBigUInt64LE(at + 8)) };
      answer.writeBigUInt64LE(BigInt(await vfs_dedupe_file_range_one(task, source, offset, length, target)), at + 16);
      answer.writeInt32LE(0, at + 24);
    } catch (error) {
      if (!(error instanceof Errno)) throw error;
      answer.writeInt32LE(error.code === 'EBADE' ? DIFFERS : -error.errno, at + 24);
    }
  }
  return answer;
}

/** Commands that name other descriptors. @returns undefined for those that do not */
function onDescriptors(task: Task, p: Process, file: File, cmd: number, arg: Buffer): Promise<Buffer> | undefined {
  if (cmd === FICLONE || cmd === FICLONERANGE) return clone(task, p, file, cmd, arg);
  return cmd >>> 0 === FIDEDUPERANGE ? dedupe(task, p, file, arg) : undefined;
}

/** ioctl(2). @param cmd as user space says it @returns what the call fills in */
export function ioctl(
  task: Task,
  p: Process,
  fd: number,
  cmd: number,
  arg: Buffer = Buffer.alloc(0),
): Awaitable<Buffer> {
  const file = p.files.get(fd);
  const pipe = pipeOf(file);
  if (pipe !== undefined && cmd === FIONREAD) {
    const answer = Buffer.alloc(4);
    answer.writeInt32LE(pipe.bytes);
    return answer;
  }
  return onDescriptors(task, p, file, cmd, arg) ?? vfs_ioctl(task, file, cmd, arg);
}

/** ioctl(2) of a program for 32 bits. @param cmd as such a program says it @returns what the call fills in */
export function ioctl32(
  task: Task,
  p: Process,
  fd: number,
  cmd: number,
  arg: Buffer = Buffer.alloc(0),
): Awaitable<Buffer> {
  const file = p.files.get(fd);
  return onDescriptors(task, p, file, cmd, arg) ?? compat_ioctl(task, file, cmd, arg);
}
