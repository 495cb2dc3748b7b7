/** fallocate(2) (fs/open.c, vfs_fallocate). */

import { file_operations } from '../contract/file.js';
import { call } from '../locking/context.js';
import { type CachedBefore, cached_before_fallocate, check_after_fallocate } from '../mm/fallocate-check.js';
import { type Awaitable, andThen, withCleanup } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import {
  FALLOC_FL_COLLAPSE_RANGE,
  FALLOC_FL_INSERT_RANGE,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_UNSHARE_RANGE,
  FALLOC_FL_ZERO_RANGE,
} from '../uapi/falloc.js';
import { S_IFBLK, S_IFDIR, S_IFIFO, S_IFMT, S_IFREG } from '../uapi/stat.js';
import { file_kill_caps } from './attr-privs.js';
import { type File, FMODE_WRITE } from './file.js';
import { file_dentry } from './file-table.js';
import { type Inode, S_APPEND, S_IMMUTABLE, S_SWAPFILE } from './inode.js';
import { sb_end_write, sb_start_write } from './super-freeze.js';

/** Only one mode at a time; each says of itself whether it keeps the size. @throws EOPNOTSUPP */
function checkMode(mode: number): void {
  const keepsSize = (mode & FALLOC_FL_KEEP_SIZE) !== 0;
  switch (mode & ~FALLOC_FL_KEEP_SIZE) {
    case 0:
    case FALLOC_FL_UNSHARE_RANGE:
    case FALLOC_FL_ZERO_RANGE:
      return;
    case FALLOC_FL_PUNCH_HOLE:
      if (keepsSize) return;
      break;
    case FALLOC_FL_COLLAPSE_RANGE:
    case FALLOC_FL_INSERT_RANGE:
      if (!keepsSize) return;
      break;
  }
  throw errno('EOPNOTSUPP');
}

/** The modes after which what a range held must not be read any more. */
const INVALIDATES = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE | FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE;
/** Those of them that move what lies behind the range as well. */
const MOVES = FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE;

/** Call ->fallocate. Where the range reaches into the file and its contents go, it has to take invalidate_lock and to drop what is cached. */
function call_fallocate(
  task: Task,
  file: File,
  mode: number,
  offset: number,
  length: number,
  fallocate: NonNullable<File['f_op']['fallocate']>,
): Awaitable<void> {
  const inode: Inode = file.f_inode;
  const operation = (): Awaitable<void> => fallocate(task, file, mode, offset, length);
  if ((mode & INVALIDATES) === 0 || offset >= inode.i_size) return call(task, file_operations.fallocate, {}, operation);
  const { f_mapping: mapping } = file;
  const end = (mode & MOVES) === 0 ? offset + length : Number.POSITIVE_INFINITY;
  const before: CachedBefore | undefined = cached_before_fallocate(task, mapping, offset, end);
  return andThen(call(task, file_operations.fallocate, { mapping: mapping.invalidate_lock }, operation), () =>
    check_after_fallocate(task, mapping, before, (mode & MOVES) !== 0, fallocate),
  );
}

/**
 * Allocate, zero, remove or insert a range of a file (vfs_fallocate). The filesystem takes i_rwsem and invalidate_lock. As a write
 * does, it takes file capabilities away; setuid and setgid go under the filesystem's i_rwsem.
 * @param mode FALLOC_FL_*
 * @param offset bytes
 * @param length bytes
 * @throws EINVAL for an empty or negative range; EOPNOTSUPP for a mode that does not exist or that the filesystem has not; EBADF where the
 * file is not open for writing; EPERM ETXTBSY ESPIPE EISDIR ENODEV EFBIG ENOSPC
 */
export function vfs_fallocate(task: Task, file: File, mode: number, offset: number, length: number): Awaitable<void> {
  const { f_inode: inode } = file;
  if (offset < 0 || length <= 0) throw errno('EINVAL');
  checkMode(mode);
  if ((file.f_mode & FMODE_WRITE) === 0) throw errno('EBADF');
  // What is there may not be taken away from an append-only file; more room may be given to it.
  if ((mode & ~FALLOC_FL_KEEP_SIZE) !== 0 && (inode.i_flags & S_APPEND) !== 0) throw errno('EPERM');
  if ((inode.i_flags & S_IMMUTABLE) !== 0) throw errno('EPERM');
  if ((inode.i_flags & S_SWAPFILE) !== 0) throw errno('ETXTBSY');
  const type = inode.i_mode & S_IFMT;
  if (type === S_IFIFO) throw errno('ESPIPE');
  if (type === S_IFDIR) throw errno('EISDIR');
  if (type !== S_IFREG && type !== S_IFBLK) throw errno('ENODEV');
  if (offset + length > inode.i_sb.s_maxbytes) throw errno('EFBIG');
  const { fallocate } = file.f_op;
  if (fallocate === undefined) throw errno('EOPNOTSUPP');
  return andThen(sb_start_write(task, inode.i_sb), (writing) =>
    withCleanup(
      () =>
        andThen(file_kill_caps(task, file_dentry(task, file), inode), () =>
          call_fallocate(task, file, mode, offset, length, fallocate),
        ),
      () => sb_end_write(writing),
    ),
  );
}
