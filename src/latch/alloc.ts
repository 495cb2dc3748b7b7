/** Which blocks and inodes are free: the bitmaps of the groups. */

import { blkdev_issue_discard, SECTOR_SIZE } from '../block/bio.js';
import type { BlockDevice } from '../block/block-device.js';
import { brelse, sb_bread } from '../block/buffer-cache.js';
import { BLOCK_SIZE } from '../block/buffer-head.js';
import { Mutex } from '../locking/mutex.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { BLOCK_BITMAP, GROUP_BLOCKS, GROUP_HEAD, INODE_BITMAP, INODES_PER_BLOCK } from './format/layout.js';
import type { Superblock } from './format/superblock.js';
import type { Handle } from './journal/types.js';

export interface Run {
  readonly start: number;
  readonly length: number;
}

export class Allocator {
  readonly #bdev: BlockDevice;
  readonly #super: Superblock;
  /** Bitmaps and counts are changed under it. */
  readonly alloc_lock = new Mutex('alloc_lock');
  /** Where the last block was found: the next search starts there. */
  #cursor = 0;
  /**
   * The slots in use of every inode block that was looked at since the mount. From then on this is the truth: a fresh inode is in use long before it is
   * written to its slot.
   */
  readonly #slots = new Map<number, number>();
  /** Those of them with free slots. */
  readonly #open = new Set<number>();
  /** The next group whose inode blocks have not been looked at since the mount. */
  #unscanned = 0;

  constructor(bdev: BlockDevice, superblock: Superblock) {
    this.#bdev = bdev;
    this.#super = superblock;
  }

  get #groups(): number {
    return Math.ceil(this.#super.blocks / GROUP_BLOCKS);
  }

  /**
   * Find up to `want` blocks in a row, near `goal` where that is given.
   * @throws ENOSPC
   */
  async allocate(task: Task, handle: Handle, want: number, goal?: number): Promise<Run> {
    using _lock = await this.alloc_lock.lock(task);
    return this.#allocate(task, handle, want, goal);
  }

  async #allocate(task: Task, handle: Handle, want: number, goal: number | undefined): Promise<Run> {
    const start = goal ?? this.#cursor;
    const first = Math.floor(start / GROUP_BLOCKS);
    for (let i = 0; i <= this.#groups && this.#super.freeBlocks > 0; i++) {
      const group = (first + i) % this.#groups;
      const run = await this.#inGroup(task, handle, group, i === 0 ? start % GROUP_BLOCKS : 0, want);
      if (run !== undefined) {
        this.#cursor = run.start + run.length;
        return run;
      }
    }
    throw errno('ENOSPC');
  }

  async #inGroup(task: Task, handle: Handle, group: number, from: number, want: number): Promise<Run | undefined> {
    const base = group * GROUP_BLOCKS;
    const size = Math.min(GROUP_BLOCKS, this.#super.blocks - base);
    if (size <= GROUP_HEAD) return undefined;
    const bh = await sb_bread(task, this.#bdev, base + BLOCK_BITMAP);
    try {
      await handle.get_write_access(task, bh);
      const bits = bh.b_data;
      if (bits[0] === 0) bits[0] = (1 << GROUP_HEAD) - 1;
      const first = firstFree(bits, Math.max(from, GROUP_HEAD), size);
      if (first === undefined) return undefined;
      let length = 0;
      while (length < want && first + length < size && !isSet(bits, first + length)) {
        setBit(bits, first + length);
        length++;
      }
      handle.dirty_metadata(task, bh);
      this.#super.freeBlocks -= length;
      return { start: base + first, length };
    } finally {
      brelse(bh);
    }
  }

  /** Give blocks back. */
  async free(task: Task, handle: Handle, start: number, length: number): Promise<void> {
    using _lock = await this.alloc_lock.lock(task);
    await this.#free(task, handle, start, length);
  }

  async #free(task: Task, handle: Handle, start: number, length: number): Promise<void> {
    for (let done = 0; done < length; ) {
      const block = start + done;
      const group = Math.floor(block / GROUP_BLOCKS);
      const at = block % GROUP_BLOCKS;
      const count = Math.min(length - done, GROUP_BLOCKS - at);
      const bh = await sb_bread(task, this.#bdev, group * GROUP_BLOCKS + BLOCK_BITMAP);
      await handle.get_write_access(task, bh);
      for (let i = at; i < at + count; i++) {
        if (!isSet(bh.b_data, i)) throw errno('EIO', `block ${group * GROUP_BLOCKS + i} is freed twice`);
        clearBit(bh.b_data, i);
      }
      handle.dirty_metadata(task, bh);
      brelse(bh);
      this.#super.freeBlocks += count;
      if (this.#bdev.ephemeral) {
        await blkdev_issue_discard(task, this.#bdev, block * (BLOCK_SIZE / SECTOR_SIZE), count * BLOCK_SIZE);
      }
      done += count;
    }
  }

  /** Find a free inode. @returns its number. @throws ENOSPC */
  async allocateInode(task: Task, handle: Handle): Promise<number> {
    using _lock = await this.alloc_lock.lock(task);
    for (;;) {
      for (const block of this.#open) {
        const used = this.#slots.get(block) ?? 0xffff;
        const slot = lowestZero(used);
        if (slot === undefined) {
          this.#open.delete(block);
          continue;
        }
        this.#slots.set(block, used | (1 << slot));
        this.#super.inodes++;
        return block * INODES_PER_BLOCK + slot;
      }
      if (this.#unscanned < this.#groups) await this.#scan(task, this.#unscanned++);
      else await this.#newInodeBlock(task, handle);
    }
  }

  /** Learn which inode blocks of a group have free slots. */
  async #scan(task: Task, group: number): Promise<void> {
    const base = group * GROUP_BLOCKS;
    if (base + INODE_BITMAP >= this.#super.blocks) return;
    const bh = await sb_bread(task, this.#bdev, base + INODE_BITMAP);
    const bits = Buffer.from(bh.b_data);
    brelse(bh);
    for (let at = 0; at < bits.length; at++) {
      if (bits[at] === 0) continue;
      for (let bit = at * 8; bit < at * 8 + 8; bit++) {
        if (isSet(bits, bit) && !this.#slots.has(base + bit)) await this.#scanBlock(task, base + bit);
      }
    }
  }

  async #scanBlock(task: Task, block: number): Promise<void> {
    const bh = await sb_bread(task, this.#bdev, block);
    let used = 0;
    for (let slot = 0; slot < INODES_PER_BLOCK; slot++) {
      if (bh.b_data.readUInt32LE(slot * (BLOCK_SIZE / INODES_PER_BLOCK)) !== 0) used |= 1 << slot;
    }
    brelse(bh);
    this.#slots.set(block, used);
    if (lowestZero(used) !== undefined) this.#open.add(block);
  }

  async #newInodeBlock(task: Task, handle: Handle): Promise<void> {
    const { start } = await this.#allocate(task, handle, 1, undefined);
    const bh = await sb_bread(task, this.#bdev, start);
    await handle.get_write_access(task, bh);
    bh.b_data.fill(0);
    handle.dirty_metadata(task, bh);
    brelse(bh);
    await this.#markInodeBlock(task, handle, start, true);
    this.#slots.set(start, 0);
    this.#open.add(start);
  }

  async #markInodeBlock(task: Task, handle: Handle, block: number, on: boolean): Promise<void> {
    const bh = await sb_bread(task, this.#bdev, block - (block % GROUP_BLOCKS) + INODE_BITMAP);
    await handle.get_write_access(task, bh);
    if (on) setBit(bh.b_data, block % GROUP_BLOCKS);
    else clearBit(bh.b_data, block % GROUP_BLOCKS);
    handle.dirty_metadata(task, bh);
    brelse(bh);
  }

  /** Give an inode back, whose slot on the device is zeroed already; its block too, when that was the last in it. */
  async freeInode(task: Task, handle: Handle, ino: number): Promise<void> {
    using _lock = await this.alloc_lock.lock(task);
    const block = Math.floor(ino / INODES_PER_BLOCK);
    if (!this.#slots.has(block)) await this.#scanBlock(task, block);
    const used = (this.#slots.get(block) ?? 0) & ~(1 << (ino % INODES_PER_BLOCK));
    this.#super.inodes--;
    if (used !== 0) {
      this.#slots.set(block, used);
      this.#open.add(block);
      return;
    }
    this.#slots.delete(block);
    this.#open.delete(block);
    await this.#markInodeBlock(task, handle, block, false);
    await this.#free(task, handle, block, 1);
  }
}

function isSet(bits: Buffer, n: number): boolean {
  return ((bits[n >>> 3] ?? 0) & (1 << (n & 7))) !== 0;
}

function setBit(bits: Buffer, n: number): void {
  bits[n >>> 3] = (bits[n >>> 3] ?? 0) | (1 << (n & 7));
}

function clearBit(bits: Buffer, n: number): void {
  bits[n >>> 3] = (bits[n >>> 3] ?? 0) & ~(1 << (n & 7));
}

/** The lowest of the 16 slots that is free. */
function lowestZero(used: number): number | undefined {
  const free = ~used & 0xffff;
  return free === 0 ? undefined : 31 - Math.clz32(free & -free);
}

/** The first clear bit from `from` on, skipping full bytes. */
function firstFree(bits: Buffer, from: number, size: number): number | undefined {
  for (let n = from; n < size; ) {
    if ((n & 7) === 0 && bits[n >>> 3] === 0xff) n += 8;
    else if (isSet(bits, n)) n++;
    else return n;
  }
  return undefined;
}
