/** read(2), write(2) and lseek(2) (fs/read_write.c, mm/filemap.c). */
import { file_operations as rows } from '../contract/file.js';
import { call } from '../locking/context.js';
import { filemap_read } from '../mm/filemap-read.js';
import { generic_perform_write } from '../mm/filemap-write.js';
import type { IovIter } from '../mm/iov-iter.js';
import type { Kiocb } from '../mm/operations.js';
import { filemap_write_and_wait_range } from '../mm/page-writeback.js';
import { type Awaitable, andThen, withCleanup } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { file_remove_privs } from './attr.js';
import { type File, FMODE_READ, FMODE_WRITE } from './file.js';
import type { Inode } from './inode.js';
import { isDir } from './permission.js';
import { vfs_fsync_range } from './sync.js';
import { file_update_time, touch_atime } from './time.js';

export interface ReadOptions {
  readonly direct?: boolean;
}

export interface WriteOptions {
  readonly direct?: boolean;
  readonly append?: boolean;
  readonly sync?: false | 'dsync' | 'sync';
  /** Setuid and setgid go, because the writer may not keep them. */
  readonly killSuidgid?: boolean;
}

function kiocb(file: File, pos: number, options: WriteOptions): Kiocb {
  return {
    ki_filp: file,
    ki_pos: pos,
    direct: options.direct ?? false,
    sync: options.sync ?? false,
    append: options.append ?? false,
    nowait: false,
  };
}

/**
 * Read at `pos` into `iter` (vfs_iter_read). @returns bytes
 * @throws EBADF EISDIR EINVAL EIO
 */
export function vfs_iter_read(
  task: Task,
  file: File,
  iter: IovIter,
  pos: number,
  options: ReadOptions,
): Awaitable<number> {
  if ((file.f_mode & FMODE_READ) === 0) throw errno('EBADF');
  const { read_iter } = file.f_op;
  if (read_iter === undefined) throw errno(isDir(file.f_inode) ? 'EISDIR' : 'EINVAL');
  const iocb = kiocb(file, pos, options);
  return call(task, rows.read_iter, {}, () => read_iter(task, iocb, iter));
}

/**
 * Write `iter` at `pos`, or at the end with `append` (vfs_iter_write). @returns bytes
 * @throws EBADF EINVAL EFBIG ENOSPC EIO
 */
export function vfs_iter_write(
  task: Task,
  file: File,
  iter: IovIter,
  pos: number,
  options: WriteOptions,
): Awaitable<number> {
  if ((file.f_mode & FMODE_WRITE) === 0) throw errno('EBADF');
  const { write_iter } = file.f_op;
  if (write_iter === undefined) throw errno('EINVAL');
  const iocb = kiocb(file, pos, options);
  const privs = options.killSuidgid === true ? file_remove_privs(task, file.f_dentry, file.f_inode) : undefined;
  return andThen(privs, () => call(task, rows.write_iter, {}, () => write_iter(task, iocb, iter)));
}

/** ->read_iter over the page cache (generic_file_read_iter). A direct read sees what is dirty there first. */
export function generic_file_read_iter(task: Task, iocb: Kiocb, iter: IovIter): Awaitable<number> {
  const { f_inode: inode } = iocb.ki_filp as File;
  return andThen(filemap_read(task, iocb, iter), (count) => andThen(touch_atime(task, inode), () => count));
}

/** ->write_iter over the page cache, i_rwsem held exclusively as write_begin wants it (generic_file_write_iter). */
export function generic_file_write_iter(task: Task, iocb: Kiocb, iter: IovIter): Awaitable<number> {
  const file = iocb.ki_filp as File;
  const { f_inode: inode } = file;
  return andThen(inode.i_rwsem.write(task), (held) =>
    andThen(
      withCleanup(
        () => written(task, iocb, iter, inode),
        () => held.release(),
      ),
      (count) => settled(task, iocb, file, count),
    ),
  );
}

function written(task: Task, iocb: Kiocb, iter: IovIter, inode: Inode): Awaitable<number> {
  if (iocb.append) iocb.ki_pos = inode.i_size;
  const { s_maxbytes: max } = inode.i_sb;
  if (iter.count > 0 && iocb.ki_pos >= max) throw errno('EFBIG');
  iter.truncate(max - iocb.ki_pos);
  if (iter.count === 0) return 0;
  return andThen(file_update_time(task, inode), () => generic_perform_write(task, iocb, iter));
}

/** What was written is on the device before O_SYNC and O_DSYNC writes return, and direct ones leave nothing dirty behind. */
function settled(task: Task, iocb: Kiocb, file: File, count: number): Awaitable<number> {
  if (count <= 0 || (iocb.sync === false && !iocb.direct)) return count;
  const start = iocb.ki_pos - count;
  const end = iocb.ki_pos - 1;
  const done =
    iocb.sync === false
      ? filemap_write_and_wait_range(task, file.f_mapping, start, end)
      : vfs_fsync_range(task, file, start, end, iocb.sync === 'dsync');
  return andThen(done, () => count);
}

export const SEEK_SET = 0;
export const SEEK_CUR = 1;
export const SEEK_END = 2;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;

/** lseek(2) (vfs_llseek). @throws EINVAL ENXIO ESPIPE */
export function vfs_llseek(task: Task, file: File, offset: number, whence: number): Awaitable<number> {
  const { llseek } = file.f_op;
  if (llseek === undefined) return generic_file_llseek(file, offset, whence);
  return call(task, rows.llseek, {}, () => llseek(task, file, offset, whence));
}

/** Positions counted from somewhere; the whole file counts as data (generic_file_llseek). */
export function generic_file_llseek(file: File, offset: number, whence: number): number {
  const { i_size: size, i_sb: sb } = file.f_inode;
  if (whence === SEEK_DATA || whence === SEEK_HOLE) {
    if (offset < 0 || offset >= size) throw errno('ENXIO');
    return whence === SEEK_DATA ? offset : size;
  }
  const base = whence === SEEK_SET ? 0 : whence === SEEK_CUR ? file.f_pos : whence === SEEK_END ? size : Number.NaN;
  const found = base + offset;
  if (!(found >= 0) || found > sb.s_maxbytes) throw errno('EINVAL');
  return found;
}
