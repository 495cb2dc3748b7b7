/** What one mounted latch filesystem keeps in memory (s_fs_info). */

import type { BlockDevice } from '../block/block-device.js';
import { brelse, sb_bread } from '../block/buffer-cache.js';
import type { SuperBlock } from '../fs/super-block.js';
import { type Awaitable, andThen, withCleanup } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { Allocator } from './alloc.js';
import { nameKey } from './dir.js';
import { GROUP_BLOCKS, INODE_BITMAP } from './format/layout.js';
import { encodeSuper, type Superblock } from './format/superblock.js';
import { NoJournal } from './journal/none.js';
import { type Handle, type Journal, journal_start } from './journal/types.js';

export class LatchInfo {
  readonly sb: SuperBlock;
  readonly bdev: BlockDevice;
  readonly super: Superblock;
  readonly alloc: Allocator;
  readonly journal: Journal;
  /** The lowest key of a name in a directory: see dir.ts. */
  readonly keyOf: (name: string) => number;

  constructor(sb: SuperBlock, bdev: BlockDevice, superblock: Superblock) {
    this.sb = sb;
    this.bdev = bdev;
    this.super = superblock;
    this.alloc = new Allocator(bdev, superblock);
    this.journal = new NoJournal(bdev);
    const hash = { k0: superblock.hashKey.readUInt32LE(0), k1: superblock.hashKey.readUInt32LE(4) };
    this.keyOf = (name) => nameKey(hash, name);
  }

  /** Whether a block holds inodes: what a number from outside must be checked for. */
  async isInodeBlock(task: Task, block: number): Promise<boolean> {
    if (block <= 0 || block >= this.super.blocks) return false;
    const bh = await sb_bread(task, this.bdev, block - (block % GROUP_BLOCKS) + INODE_BITMAP);
    const at = block % GROUP_BLOCKS;
    const set = ((bh.b_data[at >>> 3] ?? 0) & (1 << (at & 7))) !== 0;
    brelse(bh);
    return set;
  }

  /** Put the superblock into its buffer. */
  async writeSuper(task: Task, handle: Handle): Promise<void> {
    const bh = await sb_bread(task, this.bdev, 0);
    await handle.get_write_access(task, bh);
    encodeSuper(bh.b_data, this.super);
    handle.dirty_metadata(task, bh);
    brelse(bh);
  }
}

/** Credits of an ordinary operation: what it does to a directory, an inode or two, and the bitmaps. */
export const CREDITS = 32;

/**
 * Do something in one transaction: start a handle, run `body` with it, and stop it whatever happens. Inside another one of the same task it is
 * that one again.
 * @throws EROFS where the journal was aborted; what `body` throws
 */
export function with_handle<T>(
  task: Task,
  info: LatchInfo,
  body: (handle: Handle) => Awaitable<T>,
  credits = CREDITS,
): Awaitable<T> {
  return andThen(journal_start(task, info.journal, credits), (handle) =>
    withCleanup(
      () => body(handle),
      () => handle.stop(task),
    ),
  );
}

export function infoOf(sb: SuperBlock): LatchInfo {
  const { s_fs_info: info } = sb;
  if (info instanceof LatchInfo) return info;
  throw errno('EIO', 'not a latch filesystem');
}
