/** What one mounted latch filesystem keeps in memory (s_fs_info). */

import type { BlockDevice } from '../block/block-device.js';
import { brelse, mark_buffer_dirty, sb_bread } from '../block/buffer-cache.js';
import type { SuperBlock } from '../fs/super-block.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { Allocator } from './alloc.js';
import { GROUP_BLOCKS, INODE_BITMAP } from './format/layout.js';
import { encodeSuper, type Superblock } from './format/superblock.js';

export class LatchInfo {
  readonly sb: SuperBlock;
  readonly bdev: BlockDevice;
  readonly super: Superblock;
  readonly alloc: Allocator;

  constructor(sb: SuperBlock, bdev: BlockDevice, superblock: Superblock) {
    this.sb = sb;
    this.bdev = bdev;
    this.super = superblock;
    this.alloc = new Allocator(bdev, superblock);
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
  async writeSuper(task: Task): Promise<void> {
    const bh = await sb_bread(task, this.bdev, 0);
    encodeSuper(bh.b_data, this.super);
    mark_buffer_dirty(bh);
    brelse(bh);
  }
}

export function infoOf(sb: SuperBlock): LatchInfo {
  const { s_fs_info: info } = sb;
  if (info instanceof LatchInfo) return info;
  throw errno('EIO', 'not a latch filesystem');
}
