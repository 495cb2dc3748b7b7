/** The latch filesystem as a whole while it is mounted: writing inodes, syncing, freezing, remounting, unmounting; and finding inodes by handle. */

import { blkdev_issue_flush } from '../block/bio.js';
import type { Dentry } from '../fs/dentry.js';
import type { Inode } from '../fs/inode.js';
import type { export_operations, super_operations } from '../fs/operations.js';
import { dquot_writeback_dquots } from '../fs/quota/switch.js';
import { SB_RDONLY, type SuperBlock, sb_set_flags } from '../fs/super-block.js';
import { GUARDED, guard_read, guard_write } from '../locking/guarded.js';
import type { Awaitable } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { evict_inode } from './evict.js';
import { BLOCK_SIZE } from './format/layout.js';
import { begin_writing, end_writing } from './in-use.js';
import { infoOf, with_handle } from './info.js';
import { LatchInode, latch_iget, latchInode } from './inode.js';
import { destroy_inode, free_inode } from './inode-cache.js';
import { writeInode } from './inode-disk.js';
import { unload_quotas } from './quota.js';
import { latch_quota_read, latch_quota_write } from './quota-file.js';
import { latch_statfs } from './statfs.js';

/** Put an inode into its buffer: what has changed outside of transactions, the times above all. */
function write_inode(task: Task, given: Inode): Awaitable<void> {
  const info = infoOf(given.i_sb);
  const inode = latchInode(given);
  if (inode.i_nlink === 0 && !info.orphans.has(inode)) return undefined;
  return with_handle(task, info, (handle) => writeInode(task, handle, info, inode, true));
}

/** What changes in a transaction is a part of it; what changes outside, times that is, waits for write_inode (ext4_dirty_inode). */
function dirty_inode(task: Task, inode: Inode): Awaitable<void> {
  if (task.journal_info === undefined) return undefined;
  const info = infoOf(inode.i_sb);
  return with_handle(task, info, (handle) => writeInode(task, handle, info, latchInode(inode)));
}

/** Everything is on the device and stays there; without `wait` the second call will see to it. @throws EIO */
async function sync_fs(task: Task, sb: SuperBlock, wait: boolean): Promise<void> {
  if (!wait) return;
  const info = infoOf(sb);
  const { journal, bdev } = info;
  info.assert_running();
  await dquot_writeback_dquots(task, sb);
  await journal.force_commit(task);
  guard_read(task, GUARDED.s_on_disk, sb.s_umount);
  await blkdev_issue_flush(task, bdev);
}

/** The log is empty, and the device can be copied (ext4_freeze). @throws EIO */
async function freeze_fs(task: Task, sb: SuperBlock): Promise<void> {
  const info = infoOf(sb);
  info.assert_running();
  if ((sb.s_flags & SB_RDONLY) === 0) await end_writing(task, sb, info, () => info.journal.flush(task));
}

/** Changes go on; the first transaction says so. */
function unfreeze_fs(task: Task, sb: SuperBlock): Awaitable<void> {
  const info = infoOf(sb);
  if ((sb.s_flags & SB_RDONLY) !== 0 || info.forced_shutdown) return undefined;
  info.super.clean = false;
  return with_handle(task, info, (handle) => {
    guard_write(task, GUARDED.s_on_disk, sb.s_umount);
    return info.changeSuper(task, handle);
  });
}

/**
 * Change between read-only and not (ext4_remount): the device is clean while nothing is written to it.
 * @throws EROFS where nothing can be written: the device is read-only, the journal was aborted, or the log was replayed in memory only
 */
async function remount_fs(task: Task, sb: SuperBlock, flags: number): Promise<void> {
  const info = infoOf(sb);
  const readOnly = (flags & SB_RDONLY) !== 0;
  if (readOnly === ((sb.s_flags & SB_RDONLY) !== 0)) return;
  if (info.forced_shutdown) throw errno('EROFS', `${sb.s_id} was shut down: unmount it and mount it anew`);
  if (readOnly) {
    await unload_quotas(task, sb, info);
    await end_writing(task, sb, info, () => info.journal.flush(task));
    return;
  }
  if (info.bdev.read_only || info.replayedInMemory || info.journal.error !== undefined) {
    throw errno('EROFS', `${sb.s_id} cannot be written: unmount it and mount it anew`);
  }
  sb_set_flags(task, sb, sb.s_flags & ~SB_RDONLY);
  try {
    await begin_writing(task, sb, info);
  } catch (error) {
    sb_set_flags(task, sb, sb.s_flags | SB_RDONLY);
    throw error;
  }
}

async function put_super(task: Task, sb: SuperBlock): Promise<void> {
  const info = infoOf(sb);
  // The device stays as it is: the next mount recovers it.
  if (info.forced_shutdown) return;
  // What cannot be written any more has been said when the journal was aborted.
  await unload_quotas(task, sb, info).catch(() => undefined);
  if ((sb.s_flags & SB_RDONLY) === 0) await end_writing(task, sb, info, () => info.journal.destroy(task));
}

/** How it is mounted, behind what the VFS says: the size as tmpfs shows it, and what becomes of it in a crash (ext4_show_options). */
function show_options(_task: Task, root: Dentry): string {
  const { super: disk, journaled, auto_da_alloc } = infoOf(root.d_sb);
  const size = `size=${disk.blocks * (BLOCK_SIZE / 1024)}k`;
  if (!journaled) return `${size},nojournal`;
  return `${size},data=ordered${auto_da_alloc ? '' : ',noauto_da_alloc'}`;
}

export const latch_super_operations: super_operations = {
  alloc_inode: (sb) => new LatchInode(sb),
  destroy_inode,
  free_inode,
  dirty_inode,
  write_inode,
  evict_inode,
  sync_fs,
  quota_read: latch_quota_read,
  quota_write: latch_quota_write,
  freeze_fs,
  unfreeze_fs,
  remount_fs,
  put_super,
  show_options,
  statfs: latch_statfs,
};

export const latch_export_operations: export_operations = {
  get_inode: (task, sb, ino) => {
    // Quota files are nobody's.
    if (infoOf(sb).super.quotaInodes.includes(ino)) throw errno('ESTALE');
    return latch_iget(task, infoOf(sb), ino);
  },
  get_parent: (task, child) => latch_iget(task, infoOf(child.i_sb), latchInode(child).parent),
  get_name: async (task, parent, child) => {
    let found: string | undefined;
    await latchInode(parent).directory.list(task, 0, (name, ino) => {
      if (ino === child.i_ino) found = name;
      return found === undefined;
    });
    if (found === undefined) throw errno('ESTALE');
    return found;
  },
};
