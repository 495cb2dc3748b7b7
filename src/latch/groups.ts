/** The groups of a mounted device: their descriptors and bitmaps, read when they are first wanted, checked, and changed under handles. */
import { crc32 } from 'node:zlib';
import type { BlockDevice } from '../block/block-device.js';
import { brelse, mark_buffer_dirty } from '../block/buffer.js';
import { bytes_settled } from '../block/buffer-access.js';
import { sb_bread, sb_find_get_block, sb_getblk } from '../block/buffer-cache.js';
import { BLOCK_SIZE, type BufferHead } from '../block/buffer-head.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { decodeGroup, emptyBitmap, encodeGroup, type GroupDescriptor, groupSeed } from './format/group.js';
import {
  BLOCK_BITMAP,
  GROUP_BLOCKS,
  GROUP_HEAD,
  groupSize,
  groupsOf,
  INODE_BITMAP,
  ROOM_BITMAP,
} from './format/layout.js';
import { INCOMPAT_CSUM, INCOMPAT_JOURNAL, type Superblock } from './format/superblock.js';
import type { Handle } from './journal/types.js';

export type Bitmap = typeof BLOCK_BITMAP | typeof INODE_BITMAP | typeof ROOM_BITMAP;
const BITMAPS: readonly Bitmap[] = [BLOCK_BITMAP, INODE_BITMAP, ROOM_BITMAP];

/** One group in memory. */
export class Group {
  readonly number: number;
  /** Its block 0. */
  readonly base: number;
  /** Blocks. */
  readonly size: number;
  readonly seed: number;
  /** Undefined: never used. */
  descriptor: GroupDescriptor | undefined;
  /** Blocks that are free by the bitmap, but not before a transaction has committed; and how many they are. */
  busy: Uint8Array | undefined;
  busyCount = 0;
  /** Bitmaps changed since the last seal. */
  readonly changed = new Set<Bitmap>();
  /** The transaction that has the descriptor's block. */
  tid = 0;
  /** All that was free in runs of at least so many blocks was discarded, and none was freed since. */
  trimmed: number | undefined;
  /** No run of free blocks that can be used is longer; undefined where any may be. */
  longest: number | undefined;
  /** No inode block of it is known to have room: not to be searched until one gets some. */
  full = false;

  constructor(number: number, blocks: number, uuid: Buffer, descriptor: GroupDescriptor | undefined) {
    this.number = number;
    this.base = number * GROUP_BLOCKS;
    this.size = groupSize(blocks, number);
    this.seed = groupSeed(uuid, number);
    this.descriptor = descriptor;
  }

  /** Blocks that the bitmap says are free. */
  get freeBlocks(): number {
    return this.descriptor === undefined ? this.size - GROUP_HEAD : this.descriptor.freeBlocks;
  }
}

function field(which: Bitmap): 'blockBitmap' | 'inodeBitmap' | 'roomBitmap' {
  return which === BLOCK_BITMAP ? 'blockBitmap' : which === INODE_BITMAP ? 'inodeBitmap' : 'roomBitmap';
}

/** @throws EIO where the bitmap is not what the descriptor says */
function verify(bh: BufferHead, group: Group, which: Bitmap, descriptor: GroupDescriptor): BufferHead {
  if (bh.verified) return bh;
  if (crc32(bh.b_data, group.seed) !== descriptor[field(which)]) {
    brelse(bh);
    throw errno('EIO', `group ${group.number}: the checksum of bitmap ${which} is wrong`);
  }
  bh.verified = true;
  return bh;
}

function bitmapAccess(_touched: void, task: Task, handle: Handle, bh: BufferHead): Awaitable<void> {
  return handle.get_write_access(task, bh);
}

async function whenReady(ready: Promise<void>, bh: BufferHead): Promise<BufferHead> {
  try {
    await ready;
    return bh;
  } catch (error) {
    brelse(bh);
    throw error;
  }
}

function touchDescriptor(bh: BufferHead, task: Task, handle: Handle, group: Group): Awaitable<void> {
  return andThen(handle.get_write_access(task, bh), touched, task, handle, group, bh);
}

function touched(_may: void, task: Task, handle: Handle, group: Group, bh: BufferHead): void {
  handle.dirty_metadata(task, bh);
  brelse(bh);
  group.tid = handle.tid;
}

export class Groups {
  readonly count: number;
  readonly journaled: boolean;
  readonly #bdev: BlockDevice;
  readonly #super: Superblock;
  readonly #checked: boolean;
  readonly #groups: (Group | undefined)[] = [];
  /** Those whose descriptor must be written. */
  readonly #touched = new Set<Group>();

  constructor(bdev: BlockDevice, superblock: Superblock) {
    this.#bdev = bdev;
    this.#super = superblock;
    this.count = groupsOf(superblock.blocks);
    this.#checked = (superblock.incompat & INCOMPAT_CSUM) !== 0;
    this.journaled = (superblock.incompat & INCOMPAT_JOURNAL) !== 0;
  }

  /** @throws EIO where it cannot be read or is damaged */
  load(task: Task, number: number): Awaitable<Group> {
    return this.#groups[number] ?? this.#readGroup(task, number);
  }

  #readGroup(task: Task, number: number): Awaitable<Group> {
    return andThen(sb_bread(task, this.#bdev, number * GROUP_BLOCKS), (bh) => {
      const { blocks, uuid } = this.#super;
      const seed = groupSeed(uuid, number);
      const found = decodeGroup(bh.b_data, seed, groupSize(blocks, number));
      brelse(bh);
      if (typeof found === 'string') throw errno('EIO', `group ${number}: ${found}`);
      const raced = this.#groups[number];
      if (raced !== undefined) return raced;
      const group = new Group(number, blocks, uuid, found);
      this.#groups[number] = group;
      return group;
    });
  }

  /** A bitmap to be read, with a reference; undefined where the group was never used. @throws EIO also where it is damaged */
  read(task: Task, group: Group, which: Bitmap): Awaitable<BufferHead | undefined> {
    if (group.descriptor === undefined) return undefined;
    const read = sb_bread(task, this.#bdev, group.base + which);
    return this.#checked ? andThen(read, verify, group, which, group.descriptor) : read;
  }

  /**
   * A bitmap to be changed, with a reference and write access; a group that was never used is made first. The caller ends with `changed`.
   * @throws EIO EROFS
   */
  access(task: Task, handle: Handle, group: Group, which: Bitmap): Awaitable<BufferHead> {
    if (group.descriptor === undefined) return this.#make(task, handle, group, which);
    return andThen(this.read(task, group, which), Groups.#accessTo, task, handle, group, this);
  }

  static #accessTo(
    bh: BufferHead | undefined,
    task: Task,
    handle: Handle,
    group: Group,
    groups: Groups,
  ): Awaitable<BufferHead> {
    if (bh === undefined) throw errno('EIO', `group ${group.number} has vanished`);
    const ready = andThen(groups.#touch(task, handle, group), bitmapAccess, task, handle, bh);
    return ready instanceof Promise ? whenReady(ready, bh) : bh;
  }

  /** The bytes of a bitmap were changed; gives its reference back. */
  changed(task: Task, handle: Handle, group: Group, which: Bitmap, bh: BufferHead): void {
    handle.dirty_metadata(task, bh);
    group.changed.add(which);
    this.#touched.add(group);
    brelse(bh);
  }

  /** Begin to use a group: its bitmaps get their first contents. */
  async #make(task: Task, handle: Handle, group: Group, which: Bitmap): Promise<BufferHead> {
    await this.#touch(task, handle, group);
    const fresh: BufferHead[] = [];
    try {
      for (const bitmap of BITMAPS) {
        const bh = sb_getblk(task, this.#bdev, group.base + bitmap);
        fresh.push(bh);
        await handle.get_write_access(task, bh);
      }
      if (group.descriptor === undefined) {
        group.descriptor = { freeBlocks: group.size - GROUP_HEAD, blockBitmap: 0, inodeBitmap: 0, roomBitmap: 0 };
        for (const [i, bh] of fresh.entries()) {
          const bitmap = BITMAPS[i] ?? BLOCK_BITMAP;
          if (bitmap === BLOCK_BITMAP) emptyBitmap().copy(bh.b_data);
          else bh.b_data.fill(0);
          bh.uptodate = true;
          bh.verified = true;
          handle.dirty_metadata(task, bh);
          group.changed.add(bitmap);
        }
        this.#touched.add(group);
      }
    } finally {
      for (const bh of fresh) brelse(bh);
    }
    const bh = await this.read(task, group, which);
    if (bh === undefined) throw errno('EIO', `group ${group.number} has vanished`);
    return bh;
  }

  /** The descriptor's block is part of the transaction. */
  #touch(task: Task, handle: Handle, group: Group): Awaitable<void> {
    if (!this.journaled || group.tid === handle.tid) return undefined;
    return andThen(sb_bread(task, this.#bdev, group.base), touchDescriptor, task, handle, group);
  }

  /**
   * Put what has changed into the descriptors, as a transaction is about to be committed. May not sleep: the journal has all that it needs in memory.
   */
  seal(): void {
    for (const group of this.#touched) {
      const bh = sb_find_get_block(this.#bdev, group.base);
      if (bh === undefined) throw errno('EIO', `the descriptor of group ${group.number} has left memory`);
      this.#encode(group, bh);
      brelse(bh);
    }
    this.#touched.clear();
  }

  #encode(group: Group, bh: BufferHead): void {
    const { descriptor } = group;
    if (descriptor === undefined) return;
    for (const which of group.changed) {
      const bitmap = this.#checked ? sb_find_get_block(this.#bdev, group.base + which) : undefined;
      if (bitmap === undefined) continue;
      descriptor[field(which)] = crc32(bitmap.b_data, group.seed);
      brelse(bitmap);
    }
    group.changed.clear();
    encodeGroup(bh.b_data, group.seed, descriptor);
    bytes_settled(bh);
  }

  /** Without a journal: put all descriptors that have changed into their buffers. */
  async write(task: Task): Promise<void> {
    for (const group of this.#touched) {
      const bh = await sb_bread(task, this.#bdev, group.base);
      this.#encode(group, bh);
      mark_buffer_dirty(bh);
      brelse(bh);
    }
    this.#touched.clear();
  }
}

/** The group that a block is in. */
export function groupOf(block: number): number {
  return Math.floor(block / GROUP_BLOCKS);
}

/** Whether a number can be a block that is not part of a group's head. */
export function isUsable(superblock: Superblock, block: number): boolean {
  const inGroup = block % GROUP_BLOCKS;
  return (
    block > 0 && block * BLOCK_SIZE < Number.MAX_SAFE_INTEGER && block < superblock.blocks && inGroup >= GROUP_HEAD
  );
}
