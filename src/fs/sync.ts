/** fsync(2), sync(2), syncfs(2) and sync_file_range(2) (fs/sync.c). */

import { sync_blockdev } from '../block/buffer-writeback.js';
import { file_operations } from '../contract/file.js';
import { super_operations } from '../contract/super.js';
import { call, invoke } from '../locking/context.js';
import { file_fdatawait_range, filemap_fdatawrite_range } from '../mm/filemap-wait.js';
import { do_writepages } from '../mm/page-writeback.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { type Errno, errno } from '../sched/errno.js';
import type { ErrseqCursor } from '../sched/errseq.js';
import type { Task } from '../sched/task.js';
import { SYNC_FILE_RANGE_WAIT_AFTER, SYNC_FILE_RANGE_WAIT_BEFORE, SYNC_FILE_RANGE_WRITE } from '../uapi/fs.js';
import { S_IFMT } from '../uapi/stat.js';
import { bdev_of, blkdev_fdatawait_range, blkdev_fdatawrite_range } from './block-dev.js';
import type { File } from './file.js';
import { sync_inodes_sb, writeback_inodes_sb } from './fs-writeback.js';
import { I_DIRTY_SYNC, I_DIRTY_TIME } from './inode.js';
import { mark_inode_dirty } from './inode-dirty.js';
import { SB_RDONLY, type SuperBlock } from './super-block.js';
import { before_fsync, check_fsync, check_sync_fs } from './sync-check.js';

const ALL_FLAGS = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;

/** Positions are signed numbers of 64 bits. */
const LOFF_MAX = 2 ** 63;

/**
 * fsync(2) and fdatasync(2) of bytes `start` to `end` inclusive (vfs_fsync_range).
 * @throws EINVAL where the file cannot be synced; EIO ENOSPC, also of earlier writes, once to each open file
 */
export function vfs_fsync_range(
  task: Task,
  file: File,
  start: number,
  end: number,
  datasync: boolean,
): Awaitable<void> {
  const { fsync } = file.f_op;
  if (fsync === undefined) throw errno('EINVAL');
  // Times that were kept back go to the device with the rest.
  const { f_inode: inode } = file;
  const times =
    !datasync && (inode.i_state & I_DIRTY_TIME) !== 0 ? mark_inode_dirty(task, inode, I_DIRTY_SYNC) : undefined;
  if (times instanceof Promise) return times.then(() => vfs_fsync_range(task, file, start, end, datasync));
  if (!task.validator.checking) return fsync(task, file, start, end, datasync);
  const before = before_fsync(file, start, end, datasync);
  const synced = invoke(task, file_operations.fsync, {}, fsync, file, start, end, datasync);
  return andThen(synced, () => check_fsync(task, file, start, end, datasync, before));
}

/** Put everything on the device (sync_filesystem, as syncfs(2) calls it). Takes s_umount shared. @throws EIO */
export async function sync_filesystem(task: Task, sb: SuperBlock): Promise<void> {
  using _umount = await sb.s_umount.read(task);
  await sync_filesystem_locked(task, sb);
}

/** Who is told once of every error of writing back a superblock: an open file, or a mount whose requests name none. */
export interface SyncfsCaller {
  f_sb_err: ErrseqCursor;
}

/** syncfs(2): the caller is told once of every error of writing back, of whatever file, also where syncing fails by itself. @throws EIO ENOSPC */
export async function vfs_syncfs(task: Task, sb: SuperBlock, caller: SyncfsCaller): Promise<void> {
  try {
    await sync_filesystem(task, sb);
  } catch (error) {
    syncfs_error(sb, caller);
    throw error;
  }
  const error = syncfs_error(sb, caller);
  if (error !== undefined) throw error;
}

function syncfs_error(sb: SuperBlock, caller: SyncfsCaller): Errno | undefined {
  const { error, cursor } = sb.s_wb_err.checkAndAdvance(caller.f_sb_err);
  caller.f_sb_err = cursor;
  return error;
}

/** As sync_filesystem, with s_umount held in either mode. */
export async function sync_filesystem_locked(task: Task, sb: SuperBlock): Promise<void> {
  if ((sb.s_flags & SB_RDONLY) !== 0) return;
  await writeback_inodes_sb(task, sb);
  await sync_fs(task, sb, false);
  await sync_inodes_sb(task, sb);
  const tid = sb.s_log?.tid;
  await sync_fs(task, sb, true);
  // Buffers that no log holds are written by nobody else.
  if (sb.s_bdev !== undefined) await sync_blockdev(task, sb.s_bdev);
  check_sync_fs(task, sb, tid);
}

async function sync_fs(task: Task, sb: SuperBlock, wait: boolean): Promise<void> {
  const { sync_fs: op } = sb.s_op;
  if (op !== undefined) await call(task, super_operations.sync_fs, { sb: sb.s_umount }, () => op(task, sb, wait));
}

/**
 * sync_file_range(2): data of a range, without the inode and without a flush of the device (ksys_sync_file_range).
 * @param length bytes, 0: to the end of the file
 * @param flags SYNC_FILE_RANGE_*
 * @throws EINVAL; ESPIPE for what is no file, directory, device or link; EIO ENOSPC, where it waits: once to each open file, as fsync
 */
export async function sync_file_range(
  task: Task,
  file: File,
  offset: number,
  length: number,
  flags: number,
): Promise<void> {
  if ((flags & ~ALL_FLAGS) !== 0 || offset < 0 || length < 0 || offset + length >= LOFF_MAX) throw errno('EINVAL');
  const type = file.f_inode.i_mode & S_IFMT;
  if (type === 0o010000 || type === 0o140000 || type === 0o020000) throw errno('ESPIPE');
  const end = length === 0 ? Number.MAX_SAFE_INTEGER : offset + length - 1;
  const { f_mapping: mapping } = file;
  const disk = bdev_of(file) !== undefined;
  const wait = disk ? blkdev_fdatawait_range : file_fdatawait_range;
  if ((flags & SYNC_FILE_RANGE_WAIT_BEFORE) !== 0) await wait(task, file, offset, end);
  if ((flags & SYNC_FILE_RANGE_WRITE) !== 0) {
    const both = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WAIT_AFTER;
    const all = (flags & both) === both;
    if (disk) await blkdev_fdatawrite_range(task, file, offset, end, all);
    else if (all) await filemap_fdatawrite_range(task, mapping, offset, end);
    else {
      await do_writepages(task, mapping, {
        sync_mode: 'WBC_SYNC_NONE',
        nr_to_write: Number.POSITIVE_INFINITY,
        range_start: offset,
        range_end: end,
        pages_skipped: 0,
      });
    }
  }
  if ((flags & SYNC_FILE_RANGE_WAIT_AFTER) !== 0) await wait(task, file, offset, end);
}
