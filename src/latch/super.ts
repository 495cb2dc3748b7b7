/**
 * The latch filesystem's type: what a mount does.
 *
 * latch/ is the concrete filesystem, written against the operations of the VFS; it may import control/ and below.
 */

import type { BlockDevice } from '../block/block-device.js';
import { brelse } from '../block/buffer.js';
import { sb_bread } from '../block/buffer-cache.js';
import type { BufferHead } from '../block/buffer-head.js';
import { d_make_root } from '../fs/dcache-alias.js';
import { isDir } from '../fs/inode.js';
import type { FileSystemType } from '../fs/super.js';
import {
  type MetadataLog,
  SB_POSIXACL,
  SB_RDONLY,
  type SuperBlock,
  sb_emergency_readonly,
  sb_set_flags,
} from '../fs/super-block.js';
import { type Errno, errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { adoptCasefold } from './casefold.js';
import { BLOCK_SIZE, LATCH_MAGIC, MAX_FILE_BYTES, ROOT_INO } from './format/layout.js';
import { decodeSuper, FormatError, INCOMPAT_JOURNAL, type Superblock } from './format/superblock.js';
import { begin_writing } from './in-use.js';
import { LatchInfo } from './info.js';
import { latch_iget, latchInode } from './inode.js';
import { LogJournal } from './journal/journal.js';
import { journal_load } from './journal/load.js';
import { NoJournal } from './journal/none.js';
import type { Journal } from './journal/types.js';
import { latch_operations } from './operations.js';
import { latch_export_operations, latch_super_operations } from './super-operations.js';
import { latch_xattr_handlers } from './xattr.js';

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
  if ((sb.s_flags & SB_RDONLY) === 0) await begin_writing(task, sb, info, quota);
  const root = await latch_iget(task, info, ROOT_INO);
  if (!isDir(root)) throw errno('EIO', 'the root is not a directory');
  sb.s_root = d_make_root(task, root);
  adoptCasefold(sb.s_root, root);
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
