/** System calls on ranges of files: syncing, cutting, reserving, copying (fs/sync.c, fs/open.c, fs/read_write.c, fs/ioctl.c). */
import type { Awaitable } from '../../sched/awaitable.js';
import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { AT_FDCWD } from '../../uapi/fcntl.js';
import { S_IFMT, S_IFREG } from '../../uapi/stat.js';
import { do_truncate, vfs_truncate } from '../attr.js';
import { vfs_copy_file_range } from '../copy-range.js';
import { vfs_fadvise } from '../fadvise.js';
import { vfs_fallocate } from '../fallocate.js';
import { FMODE_WRITE } from '../file.js';
import { pipeOf } from '../pipe.js';
import { vfs_remap_file_range } from '../remap-range.js';
import { sync_file_range as do_sync_file_range } from '../sync.js';
import { user_path_at, withPath } from './path.js';
import type { Process } from './process.js';

/** sync_file_range(2). @param flags SYNC_FILE_RANGE_* @throws EBADF EINVAL ESPIPE EIO ENOSPC */
export function sync_file_range(
  task: Task,
  p: Process,
  fd: number,
  offset: number,
  length: number,
  flags: number,
): Promise<void> {
  return do_sync_file_range(task, p.files.get(fd), offset, length, flags);
}

/** truncate(2). @param size bytes @throws EINVAL EISDIR EFBIG EPERM ETXTBSY EROFS ENOSPC ENOENT ENOTDIR EACCES ELOOP ENAMETOOLONG */
export function truncate(task: Task, p: Process, name: string, size: number): Awaitable<void> {
  if (size < 0) throw errno('EINVAL');
  return withPath(task, user_path_at(task, p, AT_FDCWD, name, 0), (path) => vfs_truncate(task, path, size));
}

/** ftruncate(2). @param size bytes @throws EINVAL for what is not open for writing or no regular file; EPERM for an append-only one; EFBIG beyond the process's limit */
export function ftruncate(task: Task, p: Process, fd: number, size: number): Awaitable<void> {
  const file = p.files.get(fd);
  if (size < 0 || (file.f_inode.i_mode & S_IFMT) !== S_IFREG || (file.f_mode & FMODE_WRITE) === 0)
    throw errno('EINVAL');
  if (size > p.fsize && size > file.f_inode.i_size) {
    p.signals.push('SIGXFSZ');
    throw errno('EFBIG');
  }
  return do_truncate(task, file.f_dentry, size, file);
}

/** fallocate(2). @param mode FALLOC_FL_* @param offset bytes @param length bytes @throws EBADF EINVAL EOPNOTSUPP ENOSPC EDQUOT EFBIG EPERM ETXTBSY ENODEV ESPIPE */
export function fallocate(
  task: Task,
  p: Process,
  fd: number,
  mode: number,
  offset: number,
  length: number,
): Awaitable<void> {
  return vfs_fallocate(task, p.files.get(fd), mode, offset, length);
}

/** posix_fadvise(2). @throws EINVAL; ESPIPE for a pipe */
export function fadvise(
  task: Task,
  p: Process,
  fd: number,
  offset: number,
  length: number,
  advice: number,
): Awaitable<void> {
  const file = p.files.get(fd);
  if (pipeOf(file) !== undefined) throw errno('ESPIPE');
  return vfs_fadvise(task, file, offset, length, advice);
}

/** Positions as copy_file_range(2) and splice(2) are given them: undefined is the file's own, which moves. */
export type Offset = number | undefined;

/** copy_file_range(2). @param flags must be 0 @returns bytes copied; 0 at the end of the file @throws EBADF EINVAL EXDEV EISDIR EFBIG ENOSPC ETXTBSY EPERM EIO */
export async function copy_file_range(
  task: Task,
  p: Process,
  fdIn: number,
  offsetIn: Offset,
  fdOut: number,
  offsetOut: Offset,
  length: number,
  flags = 0,
): Promise<number> {
  const [from, to] = [p.files.get(fdIn), p.files.get(fdOut)];
  const [posIn, posOut] = [offsetIn ?? from.f_pos, offsetOut ?? to.f_pos];
  const copied = await vfs_copy_file_range(task, from, posIn, to, posOut, length, flags);
  if (offsetIn === undefined) from.f_pos = posIn + copied;
  if (offsetOut === undefined) to.f_pos = posOut + copied;
  return copied;
}

/** ioctl FICLONE and FICLONERANGE. @throws EOPNOTSUPP EXDEV EINVAL EBADF */
export async function clone_file_range(
  task: Task,
  p: Process,
  fdIn: number,
  posIn: number,
  length: number,
  fdOut: number,
  posOut: number,
): Promise<void> {
  await vfs_remap_file_range(task, p.files.get(fdIn), posIn, p.files.get(fdOut), posOut, length, 0);
}
