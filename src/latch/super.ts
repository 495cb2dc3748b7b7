/** The latch filesystem as a whole: mounting, syncing, freezing, unmounting. */

import { blkdev_issue_flush } from '../block/bio.js';
import type { BlockDevice } from '../block/block-device.js';
import { brelse } from '../block/buffer.js';
import { sb_bread } from '../block/buffer-cache.js';
import type { BufferHead } from '../block/buffer-head.js';
import { sync_blockdev } from '../block/buffer-writeback.js';
import { d_make_root } from '../fs/dcache-alias.js';
import type { Dentry } from '../fs/dentry.js';
import type { Inode } from '../fs/inode.js';
import type { export_operations, super_operations } from '../fs/operations.js';
import { dquot_writeback_dquots } from '../fs/quota/switch.js';
import type { FileSystemType } from '../fs/super.js';
import {
  type MetadataLog,
  SB_POSIXACL,
  SB_RDONLY,
  type SuperBlock,
  sb_emergency_readonly,
  sb_set_flags,
} from '../fs/super-block.js';
import { GUARDED, guard_read, guard_write } from '../locking/guarded.js';
import type { Awaitable } from '../sched/awaitable.js';
import { type Errno, errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { adoptCasefold } from './casefold.js';
import { evict_inode } from './evict.js';
import { BLOCK_SIZE, LATCH_MAGIC, MAX_FILE_BYTES, ROOT_INO } from './format/layout.js';
import { decodeSuper, FormatError, INCOMPAT_JOURNAL, type Superblock } from './format/superblock.js';
import { infoOf, LatchInfo, with_handle } from './info.js';
import { LatchInode, latch_iget, latchInode } from './inode.js';
import { destroy_inode, free_inode } from './inode-cache.js';
import { writeInode } from './inode-disk.js';
import { LogJournal } from './journal/journal.js';
import { journal_load } from './journal/load.js';
import { NoJournal } from './journal/none.js';
import type { Journal } from './journal/types.js';
import { latch_operations } from './operations.js';
import { ensure_quotas, load_quotas, unload_quotas } from './quota.js';
import { latch_quota_read, latch_quota_write } from './quota-file.js';
import { cleanOrphans } from './recover.js';
import { latch_statfs } from './statfs.js';
import { latch_xattr_handlers } from './xattr.js';

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
  if ((sb.s_flags & SB_RDONLY) === 0) await leave(task, sb, info, () => info.journal.flush(task));
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
    await leave(task, sb, info, () => info.journal.flush(task));
    return;
  }
  if (info.bdev.read_only || info.replayedInMemory || info.journal.error !== undefined) {
    throw errno('EROFS', `${sb.s_id} cannot be written: unmount it and mount it anew`);
  }
  sb_set_flags(task, sb, sb.s_flags & ~SB_RDONLY);
  try {
    await beginWriting(task, sb, info);
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
  if ((sb.s_flags & SB_RDONLY) === 0) await leave(task, sb, info, () => info.journal.destroy(task));
}

/** Bring everything home, and say on the device that it is clean. */
async function leave(task: Task, sb: SuperBlock, info: LatchInfo, flush: () => Promise<void>): Promise<void> {
  guard_write(task, GUARDED.s_on_disk, sb.s_umount);
  await flush();
  guard_write(task, GUARDED.s_on_disk, sb.s_umount);
  info.super.clean = true;
  await info.writeSuper(task);
  await sync_blockdev(task, info.bdev);
  await blkdev_issue_flush(task, info.bdev);
}

/** How it is mounted, behind what the VFS says: the size as tmpfs shows it, and what becomes of it in a crash (ext4_show_options). */
function show_options(_task: Task, root: Dentry): string {
  const { super: disk, journaled, auto_da_alloc } = infoOf(root.d_sb);
  const size = `size=${disk.blocks * (BLOCK_SIZE / 1024)}k`;
  if (!journaled) return `${size},nojournal`;
  return `${size},data=ordered${auto_da_alloc ? '' : ',noauto_da_alloc'}`;
}

const latch_super_operations: super_operations = {
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

const latch_export_operations: export_operations = {
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

/** The journal was aborted: nothing may be changed any more (ext4_handle_error). */
function aborted(sb: SuperBlock, error: Errno): void {
  // That was wanted, and has been said.
  if (error.code === 'ESHUTDOWN') return;
  sb_emergency_readonly(sb);
  sb.machine.printk?.(
    `${sb.s_id}: the journal was aborted (${error.message}): the filesystem is read-only from now on`,
  );
}

/**
 * Open the journal, and replay it first where the last mount was not ended properly. On a device that cannot be written, or for a mount that shall not
 * write, the replay is in memory only.
 * @throws FormatError where it is damaged; EIO
 */
async function openJournal(
  task: Task,
  sb: SuperBlock,
  bdev: BlockDevice,
  disk: Superblock,
  info: () => LatchInfo | undefined,
): Promise<{ readonly journal: Journal; readonly inMemory: boolean }> {
  const onAbort = (error: Errno): void => aborted(sb, error);
  if ((disk.incompat & INCOMPAT_JOURNAL) === 0) {
    return { journal: new NoJournal(bdev, async (syncing) => info()?.writeSuper(syncing), onAbort), inMemory: false };
  }
  const place = { first: disk.journalFirst, length: disk.journalLength };
  const readOnly = (sb.s_flags & SB_RDONLY) !== 0 || bdev.read_only;
  const options = { onAbort, beforeFreeze: () => info()?.seal() };
  const loaded = await journal_load(task, bdev, place, sb.machine, options, readOnly).catch((error: unknown) => {
    throw new FormatError(`${bdev.name}: the journal is damaged (${message(error)}); look at it with: latchfs fsck`);
  });
  const { transactions, blocks, inMemory } = loaded.recovered;
  if (transactions > 0) {
    const where = readOnly ? ' in memory, because the mount is read-only' : '';
    sb.machine.printk?.(`${bdev.name}: replayed ${transactions} transactions (${blocks} blocks)${where}`);
  }
  return { journal: loaded.journal, inMemory };
}

/** What the VFS is shown of a journal. */
function logOf(journal: LogJournal): MetadataLog {
  return {
    get tid() {
      return journal.tid;
    },
    get commitSequence() {
      return journal.commitSequence;
    },
    tid_of: (inode, datasync) => {
      const { i_sync_tid, i_datasync_tid } = latchInode(inode);
      return datasync ? i_datasync_tid : i_sync_tid;
    },
  };
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function readSuper(bdev: BlockDevice, bh: BufferHead): Superblock {
  return decodeSuper(bh.b_data, bdev.name, Math.floor(bdev.size / BLOCK_SIZE));
}

/** @throws FormatError where the device holds nothing that can be mounted */
async function fill_super(task: Task, sb: SuperBlock, bdev: BlockDevice, options: LatchOptions): Promise<void> {
  if (bdev.size < BLOCK_SIZE) throw new FormatError(`${bdev.name} holds no latchfs: it is too small`);
  const bh = await sb_bread(task, bdev, 0);
  try {
    let info: LatchInfo | undefined;
    const { journal, inMemory } = await openJournal(task, sb, bdev, readSuper(bdev, bh), () => info);
    bdev.holder_ops = { mark_dead: (reason) => journal.abort(reason) };
    // What was replayed may have changed it.
    const disk = readSuper(bdev, bh);
    info = new LatchInfo(sb, bdev, disk, bh, journal, latch_operations, inMemory);
    // A device without a log forgets all of it in a crash.
    info.auto_da_alloc = info.journaled && options.auto_da_alloc !== false;
    sb.s_fs_info = info;
    if (journal instanceof LogJournal) sb.s_log = logOf(journal);
    sb.s_magic = LATCH_MAGIC;
    sb.s_blocksize = BLOCK_SIZE;
    sb.s_maxbytes = MAX_FILE_BYTES;
    sb.s_op = latch_super_operations;
    sb.s_export_op = latch_export_operations;
    sb.s_xattr = latch_xattr_handlers;
    sb_set_flags(task, sb, sb.s_flags | SB_POSIXACL);
    try {
      await begin(task, sb, info, options.quota === true);
    } catch (error) {
      if ((sb.s_flags & SB_RDONLY) === 0) await journal.destroy(task).catch(() => undefined);
      throw damaged(bdev, error);
    }
  } finally {
    brelse(bh);
  }
}

/** Finish what a crash has interrupted, and read the root. */
async function begin(task: Task, sb: SuperBlock, info: LatchInfo, quota: boolean): Promise<void> {
  await info.inodes.countBlocks(task);
  if ((sb.s_flags & SB_RDONLY) === 0) await beginWriting(task, sb, info, quota);
  const root = await latch_iget(task, info, ROOT_INO);
  if ((root.i_mode & 0o170000) !== 0o040000) throw errno('EIO', 'the root is not a directory');
  sb.s_root = d_make_root(task, root);
  adoptCasefold(sb.s_root, root);
}

/** Say on the device that it is in use, and work off the orphan list. */
async function beginWriting(task: Task, sb: SuperBlock, info: LatchInfo, wantsQuota = false): Promise<void> {
  info.super.clean = false;
  info.super.mounts++;
  await with_handle(task, info, (handle) => {
    guard_write(task, GUARDED.s_on_disk, sb.s_umount);
    return info.changeSuper(task, handle);
  });
  await load_quotas(task, sb, info);
  const { deleted, truncated } = await cleanOrphans(task, info);
  if (deleted + truncated > 0) {
    sb.machine.printk?.(`${sb.s_id}: deleted ${deleted} orphans, finished ${truncated} truncations`);
  }
  await ensure_quotas(task, sb, info, wantsQuota);
  await info.journal.force_commit(task);
}

function damaged(bdev: BlockDevice, error: unknown): unknown {
  if (error instanceof FormatError) return error;
  return new FormatError(`${bdev.name} is damaged (${message(error)}); look at it with: latchfs fsck ${bdev.name}`);
}

/** Options of a mount. */
export interface LatchOptions {
  /** Count what users and groups have, also where the filesystem has not done so far. */
  readonly quota?: boolean;
  /** Write what replaces another file before it does; the default. */
  readonly auto_da_alloc?: boolean;
}

/** The type of latch filesystems that are mounted with `options`. */
export function latch_fs(options: LatchOptions = {}): FileSystemType {
  return { name: 'latch', fill_super: (task, sb, bdev) => fill_super(task, sb, bdev, options) };
}

export const latch_fs_type: FileSystemType = latch_fs();
