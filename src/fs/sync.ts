/** fsync(2), syncfs(2), and the writing back of inodes (fs/sync.c, fs/fs-writeback.c). */
import { file_operations } from '../contract/file.js';
import { super_operations } from '../contract/super.js';
import { call } from '../locking/context.js';
import type { WritebackControl } from '../mm/operations.js';
import { do_writepages, filemap_fdatawait_range } from '../mm/page-writeback.js';
import type { Awaitable } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { File } from './file.js';
import { dirty_inodes, ihold, iput } from './icache.js';
import { I_DIRTY, I_DIRTY_PAGES, I_FREEING, type Inode } from './inode.js';
import { SB_RDONLY, type SuperBlock } from './super-block.js';

/** fsync(2) and fdatasync(2) of bytes `start` to `end` (vfs_fsync_range). @throws EINVAL EIO ENOSPC */
export function vfs_fsync_range(
  task: Task,
  file: File,
  start: number,
  end: number,
  datasync: boolean,
): Awaitable<void> {
  const { fsync } = file.f_op;
  if (fsync === undefined) throw errno('EINVAL');
  return call(task, file_operations.fsync, {}, () => fsync(task, file, start, end, datasync));
}

function control(sync: boolean): WritebackControl {
  return {
    sync_mode: sync ? 'WBC_SYNC_ALL' : 'WBC_SYNC_NONE',
    nr_to_write: Number.POSITIVE_INFINITY,
    range_start: 0,
    range_end: Number.POSITIVE_INFINITY,
    pages_skipped: 0,
  };
}

/** Write one inode's pages, then the inode itself (writeback_single_inode). */
export async function write_inode_now(task: Task, inode: Inode, sync: boolean): Promise<void> {
  const wbc = control(sync);
  const mapping = inode.mappingIfAny;
  inode.i_state &= ~I_DIRTY_PAGES;
  if (mapping !== undefined && mapping.nrpages > 0) {
    await do_writepages(task, mapping, wbc);
    if (sync) await filemap_fdatawait_range(task, mapping, 0, Number.MAX_SAFE_INTEGER);
  }
  const dirty = inode.i_state & I_DIRTY;
  inode.i_state &= ~I_DIRTY;
  if (dirty !== 0)
    await call(task, super_operations.write_inode, {}, () => inode.i_sb.s_op.write_inode?.(task, inode, wbc));
  if ((inode.i_state & I_DIRTY) === 0) dirty_inodes(inode.i_sb).delete(inode);
}

/** Write back the dirty inodes, those for which `due` says so (writeback_sb_inodes). */
export async function writeback_inodes(
  task: Task,
  sb: SuperBlock,
  sync: boolean,
  due: (inode: Inode) => boolean = () => true,
): Promise<void> {
  for (const inode of [...dirty_inodes(sb)]) {
    if ((inode.i_state & I_FREEING) !== 0 || !due(inode)) continue;
    ihold(inode);
    try {
      await write_inode_now(task, inode, sync);
    } finally {
      await iput(task, inode);
    }
  }
}

/** Put everything on the device (sync_filesystem). Takes s_umount shared. */
export async function sync_filesystem(task: Task, sb: SuperBlock): Promise<void> {
  using _umount = await sb.s_umount.read(task);
  await sync_filesystem_locked(task, sb);
}

/** As sync_filesystem, with s_umount held. */
export async function sync_filesystem_locked(task: Task, sb: SuperBlock): Promise<void> {
  if ((sb.s_flags & SB_RDONLY) !== 0) return;
  await writeback_inodes(task, sb, true);
  await call(task, super_operations.sync_fs, { sb: sb.s_umount }, () => sb.s_op.sync_fs?.(task, sb, true));
}
