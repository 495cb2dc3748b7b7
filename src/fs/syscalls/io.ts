/** System calls on open files: reading, writing, seeking, syncing, listing (fs/read_write.c, fs/sync.c, fs/readdir.c). Those on ranges are in range.ts. */

import { IovIter } from '../../mm/iov-iter.js';
import type { Awaitable } from '../../sched/awaitable.js';
import { Errno, errno, isErrno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { O_APPEND, O_DIRECT } from '../../uapi/fcntl.js';
import { RWF_APPEND, RWF_DSYNC, RWF_HIPRI, RWF_NOWAIT, RWF_SYNC } from '../../uapi/fs.js';
import type { File } from '../file.js';
import { mounts_of } from '../namespace.js';
import { pipeOf } from '../pipe.js';
import { polled_read } from '../polled-read.js';
import { vfs_iter_read, vfs_iter_write, type WriteOptions } from '../read-write.js';
import { iterate_dir_from_pos } from '../readdir.js';
import { vfs_llseek } from '../seek.js';
import { sync_filesystem, vfs_fsync_range, vfs_syncfs } from '../sync.js';
import type { Process } from './process.js';

const RWF_ALL = RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND;

/** The most that one call moves (MAX_RW_COUNT). */
const MAX_RW_COUNT = 0x7ffff000;

/** What was read, as bytes of the caller's. */
async function readInto(task: Task, file: File, count: number, pos: number, flags: number): Promise<Buffer> {
  const iter = IovIter.ofDest(Math.min(count, MAX_RW_COUNT));
  try {
    const nowait = (flags & RWF_NOWAIT) !== 0;
    const direct = (file.f_flags & O_DIRECT) !== 0;
    const polled = (flags & RWF_HIPRI) !== 0 && file.f_op.read_iter !== undefined;
    const got = polled
      ? await polled_read(task, file, iter, pos, { direct, nowait })
      : await vfs_iter_read(task, file, iter, pos, { direct, nowait });
    return Buffer.concat(iter.segments, got);
  } finally {
    iter.release();
  }
}

/** Run `body` at the file's position, which others who share the file do not move meanwhile (fdget_pos). */
async function atPosition<T>(task: Task, file: File, body: (pos: number) => Promise<T>): Promise<T> {
  // A pipe has no position to be alone with.
  if (pipeOf(file) !== undefined) return body(0);
  using _position = await file.f_pos_lock.lock(task);
  return await body(file.f_pos);
}

/** The file that is to be read or written at a place, -1 for its own. @throws EOPNOTSUPP EINVAL EBADF ESPIPE */
function fileAt(p: Process, fd: number, pos: number, flags: number): File {
  if ((flags & ~RWF_ALL) !== 0) throw errno('EOPNOTSUPP');
  if (pos < -1) throw errno('EINVAL');
  const file = p.files.get(fd);
  if (pos !== -1 && pipeOf(file) !== undefined) throw errno('ESPIPE');
  return file;
}

/** @throws EBADF EISDIR EINVAL EAGAIN EINTR EIO */
export function read(task: Task, p: Process, fd: number, count: number): Promise<Buffer> {
  return readAt(task, p.files.get(fd), count, 0);
}

/** Read at the file's position, and move it. */
function readAt(task: Task, file: File, count: number, flags: number): Promise<Buffer> {
  return atPosition(task, file, async (pos) => {
    const bytes = await readInto(task, file, count, pos, flags);
    file.f_pos = pos + bytes.length;
    return bytes;
  });
}

/** @throws ESPIPE for a pipe; EINVAL for a position below 0, and as read */
export function pread(task: Task, p: Process, fd: number, count: number, pos: number): Promise<Buffer> {
  if (pos < 0) throw errno('EINVAL');
  return preadv2(task, p, fd, count, pos, 0);
}

/** @param pos -1 for the file's own @param flags RWF_*; with RWF_HIPRI the completion is polled for */
export async function preadv2(
  task: Task,
  p: Process,
  fd: number,
  count: number,
  pos: number,
  flags: number,
): Promise<Buffer> {
  const file = fileAt(p, fd, pos, flags);
  return pos === -1 ? readAt(task, file, count, flags) : readInto(task, file, count, pos, flags);
}

/** readv(2): into several buffers of these lengths. */
export async function readv(task: Task, p: Process, fd: number, lengths: readonly number[]): Promise<Buffer[]> {
  const bytes = await read(
    task,
    p,
    fd,
    lengths.reduce((sum, length) => sum + length, 0),
  );
  let at = 0;
  return lengths.map((length) => {
    const part = bytes.subarray(at, at + length);
    at += length;
    return part;
  });
}

function writeOptions(p: Process, file: File, flags: number): WriteOptions {
  const sync = (flags & RWF_SYNC) !== 0 ? 'sync' : (flags & RWF_DSYNC) !== 0 ? 'dsync' : undefined;
  return {
    rlimitFsize: p.fsize,
    ...(sync === undefined ? {} : { sync }),
    ...((flags & RWF_APPEND) !== 0 || (file.f_flags & O_APPEND) !== 0 ? { append: true } : {}),
  };
}

/** Write, and send the signals that failing to has. */
async function writeFrom(
  task: Task,
  p: Process,
  file: File,
  bytes: Buffer,
  pos: number,
  flags: number,
): Promise<number> {
  try {
    const iter = IovIter.ofSource(bytes.subarray(0, MAX_RW_COUNT));
    return await vfs_iter_write(task, file, iter, pos, writeOptions(p, file, flags));
  } catch (error) {
    if (isErrno(error, 'EPIPE')) p.signals.push('SIGPIPE');
    if (isErrno(error, 'EFBIG') && pos >= p.fsize) p.signals.push('SIGXFSZ');
    throw error;
  }
}

/** @throws EBADF EISDIR EINVAL EFBIG ENOSPC EPIPE EAGAIN EINTR EIO */
export function write(task: Task, p: Process, fd: number, bytes: Buffer): Promise<number> {
  return writeAt(task, p, p.files.get(fd), bytes, 0);
}

/** Write at the file's position, and move it. */
function writeAt(task: Task, p: Process, file: File, bytes: Buffer, flags: number): Promise<number> {
  return atPosition(task, file, async (pos) => {
    const written = await writeFrom(task, p, file, bytes, pos, flags);
    const appended = (file.f_flags & O_APPEND) !== 0 || (flags & RWF_APPEND) !== 0;
    file.f_pos = (appended ? file.f_inode.i_size - written : pos) + written;
    return written;
  });
}

/** @throws ESPIPE for a pipe; EINVAL for a position below 0, and as write */
export function pwrite(task: Task, p: Process, fd: number, bytes: Buffer, pos: number): Promise<number> {
  if (pos < 0) throw errno('EINVAL');
  return pwritev2(task, p, fd, bytes, pos, 0);
}

/** @param pos -1 for the file's own @param flags RWF_* */
export async function pwritev2(
  task: Task,
  p: Process,
  fd: number,
  bytes: Buffer,
  pos: number,
  flags: number,
): Promise<number> {
  const file = fileAt(p, fd, pos, flags);
  if (pos === -1) return writeAt(task, p, file, bytes, flags);
  return writeFrom(task, p, file, bytes, pos, flags);
}

/** writev(2). @returns bytes written @throws as write */
export function writev(task: Task, p: Process, fd: number, buffers: readonly Buffer[]): Promise<number> {
  return write(task, p, fd, Buffer.concat(buffers));
}

/** @throws ESPIPE EINVAL ENXIO EBADF */
export function lseek(task: Task, p: Process, fd: number, offset: number, whence: number): Promise<number> {
  const file = p.files.get(fd);
  if (pipeOf(file) !== undefined) throw errno('ESPIPE');
  return atPosition(task, file, async () => vfs_llseek(task, file, offset, whence));
}

/** One entry of a directory (struct linux_dirent64). */
export interface Dirent {
  readonly name: string;
  readonly ino: number;
  /** DT_*. */
  readonly type: number;
}

/** Some of the entries of a directory, from its position on; none at the end. @param max how many at most @throws ENOTDIR ENOENT */
export async function getdents(task: Task, p: Process, fd: number, max = 1024): Promise<Dirent[]> {
  const entries: Dirent[] = [];
  await iterate_dir_from_pos(task, p.files.get(fd), (name, ino, type) => {
    if (entries.length >= max) return false;
    entries.push({ name, ino, type });
    return true;
  });
  return entries;
}

/** fsync(2). @throws EBADF EINVAL EIO ENOSPC EDQUOT */
export function fsync(task: Task, p: Process, fd: number): Awaitable<void> {
  return vfs_fsync_range(task, p.files.get(fd), 0, Number.MAX_SAFE_INTEGER, false);
}

/** fdatasync(2). @throws as fsync */
export function fdatasync(task: Task, p: Process, fd: number): Awaitable<void> {
  return vfs_fsync_range(task, p.files.get(fd), 0, Number.MAX_SAFE_INTEGER, true);
}

/** syncfs(2): the filesystem that a file is on. @throws EBADF EIO ENOSPC */
export function syncfs(task: Task, p: Process, fd: number): Promise<void> {
  const file = p.files.get(fd);
  return vfs_syncfs(task, file.f_dentry.d_sb, file);
}

/** sync(2): every filesystem that the process sees. It cannot fail: errors are for fsync and syncfs. */
export async function sync(task: Task, p: Process): Promise<void> {
  for (const sb of [p.fs.root.d_sb, ...mounts_of(p.machine).map((mount) => mount.mnt_sb)]) {
    try {
      await sync_filesystem(task, sb);
    } catch (error) {
      if (!(error instanceof Errno)) throw error;
    }
  }
}
