/** Which inodes are free: a slot with mode 0 in a block of inodes. The inode and room bitmaps say where to look. */
import type { BlockDevice } from '../block/block-device.js';
import { brelse } from '../block/buffer.js';
import { sb_bread, sb_getblk } from '../block/buffer-cache.js';
import type { BufferHead } from '../block/buffer-head.js';
import { type Held, release_held } from '../locking/held.js';
import { type Awaitable, andThen, instead, withCleanup } from '../sched/awaitable.js';
import { errno, isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { Allocator } from './alloc.js';
import { clearBit, countSet, isSet, setBit } from './bitmap.js';
import { get32, put32 } from './format/bytes.js';
import { INODE_BITMAP, INODE_SIZE, INODES_PER_BLOCK, ROOM_BITMAP, ROOT_BLOCK } from './format/layout.js';
import { COMPAT_INODE_BLOCKS, type Superblock } from './format/superblock.js';
import { type Bitmap, type Group, type Groups, groupOf, isUsable } from './groups.js';
import { InodeRoom } from './inode-room.js';
import type { Handle } from './journal/types.js';

export class InodeAllocator {
  readonly #bdev: BlockDevice;
  readonly #super: Superblock;
  readonly #groups: Groups;
  readonly #alloc: Allocator;
  readonly #changedSuper: (task: Task, handle: Handle) => Awaitable<void>;
  readonly #room: InodeRoom;
  /** A block without inodes that is kept, so that the next ones need none. */
  #spare: number | undefined;

  constructor(
    bdev: BlockDevice,
    superblock: Superblock,
    groups: Groups,
    alloc: Allocator,
    changedSuper: (task: Task, handle: Handle) => Awaitable<void>,
  ) {
    this.#bdev = bdev;
    this.#super = superblock;
    this.#groups = groups;
    this.#room = new InodeRoom(groups);
    this.#alloc = alloc;
    this.#changedSuper = changedSuper;
  }

  /** Whether a block holds inodes: what a number from outside must be checked for. @throws EIO */
  holdsInodes(task: Task, block: number): Awaitable<boolean> {
    if (!isUsable(this.#super, block) || groupOf(block) >= this.#groups.count) return false;
    return andThen(this.#groups.load(task, groupOf(block)), InodeAllocator.#readBitmap, task, this.#groups, block);
  }

  static #readBitmap(group: Group, task: Task, groups: Groups, block: number): Awaitable<boolean> {
    return andThen(groups.read(task, group, INODE_BITMAP), InodeAllocator.#holds, block - group.base);
  }

  static #holds(bitmap: BufferHead | undefined, bit: number): boolean {
    if (bitmap === undefined) return false;
    const set = isSet(bitmap.b_data, bit);
    brelse(bitmap);
    return set;
  }

  /**
   * Take a free inode: its slot on the device gets the mode, and nothing else, at once. Takes alloc_lock.
   * @returns its number
   * @throws ENOSPC EIO EROFS
   */
  allocate(task: Task, handle: Handle, mode: number): Awaitable<number> {
    return andThen(
      this.#alloc.alloc_lock.lock(task),
      InodeAllocator.#locked,
      task,
      handle,
      mode,
      this,
      InodeAllocator.#allocateHeld,
    );
  }

  /** Do `body` under alloc_lock, and give that back. */
  static #locked<T>(
    lock: Held,
    task: Task,
    handle: Handle,
    what: number,
    inodes: InodeAllocator,
    body: UnderLock<T>,
  ): Awaitable<T> {
    return withCleanup(body, release_held, lock, task, handle, what, inodes);
  }

  static #allocateHeld(
    _lock: Held,
    task: Task,
    handle: Handle,
    mode: number,
    inodes: InodeAllocator,
  ): Awaitable<number> {
    const found = andThen(inodes.#changedSuper(task, handle), InodeAllocator.#findIn, task, inodes);
    return andThen(found, InodeAllocator.#claimIn, task, handle, mode, inodes);
  }

  static #findIn(_may: void, task: Task, inodes: InodeAllocator): Awaitable<number | undefined> {
    return inodes.#room.find(task);
  }

  static #claimIn(
    found: number | undefined,
    task: Task,
    handle: Handle,
    mode: number,
    inodes: InodeAllocator,
  ): Awaitable<number> {
    if (found !== undefined) return inodes.#claim(task, handle, found, mode);
    return inodes.#newBlock(task, handle).then((block) => inodes.#claim(task, handle, block, mode));
  }

  /** Inodes that blocks of inodes have room for. */
  get freeSlots(): number {
    return Math.max(0, this.#super.inodeBlocks * INODES_PER_BLOCK - this.#super.inodes);
  }

  /** Count the blocks of inodes where the superblock does not say how many there are. A group that is damaged counts as if it had none. @throws EIO */
  async countBlocks(task: Task): Promise<void> {
    if ((this.#super.compat & COMPAT_INODE_BLOCKS) !== 0) return;
    this.#super.inodeBlocks = 0;
    for (let number = 0; number < this.#groups.count; number++) {
      try {
        const group = await this.#groups.load(task, number);
        const bh = await this.#groups.read(task, group, INODE_BITMAP);
        if (bh === undefined) continue;
        this.#super.inodeBlocks += countSet(bh.b_data, group.size);
        brelse(bh);
      } catch (error) {
        if (!isErrno(error, 'EIO')) throw error;
      }
    }
    this.#super.compat |= COMPAT_INODE_BLOCKS;
  }

  #claim(task: Task, handle: Handle, block: number, mode: number): Awaitable<number> {
    return andThen(sb_bread(task, this.#bdev, block), InodeAllocator.#access, task, handle, mode, this, claimSlotOf);
  }

  /** Do `body` with a block of inodes that may be written to. */
  static #access<T>(
    bh: BufferHead,
    task: Task,
    handle: Handle,
    what: number,
    inodes: InodeAllocator,
    body: InBlock<T>,
  ): Awaitable<T> {
    return andThen(handle.get_write_access(task, bh), body, bh, task, handle, what, inodes);
  }

  /** Take a slot of a block that may be written to; gives the block's reference back. @throws EIO where none is free */
  claimSlot(task: Task, handle: Handle, bh: BufferHead, mode: number): Awaitable<number> {
    const { b_blocknr: block } = bh;
    const slot = freeSlot(bh, 0);
    if (slot === undefined) {
      brelse(bh);
      throw errno('EIO', `block ${block} has no free inode though the room bitmap says so`);
    }
    bh.b_data.fill(0, slot * INODE_SIZE, (slot + 1) * INODE_SIZE);
    put32(bh.b_data, mode, slot * INODE_SIZE);
    handle.dirty_metadata(task, bh);
    const last = freeSlot(bh, slot + 1) === undefined;
    brelse(bh);
    this.#super.inodes++;
    if (this.#spare === block) this.#spare = undefined;
    const ino = block * INODES_PER_BLOCK + slot;
    if (!last) return ino;
    return andThen(this.#mark(task, handle, { which: ROOM_BITMAP, block, on: false }), instead, ino);
  }

  /** Make a block of inodes. */
  async #newBlock(task: Task, handle: Handle): Promise<number> {
    const { start: block } = await this.#alloc.allocateLocked(task, handle, 1);
    const bh = sb_getblk(task, this.#bdev, block);
    try {
      await handle.get_write_access(task, bh);
      bh.b_data.fill(0);
      bh.uptodate = true;
      handle.dirty_metadata(task, bh);
    } finally {
      brelse(bh);
    }
    this.#super.inodeBlocks++;
    await this.#mark(task, handle, { which: INODE_BITMAP, block, on: true });
    await this.#mark(task, handle, { which: ROOM_BITMAP, block, on: true });
    this.#room.startAt(block);
    return block;
  }

  #mark(task: Task, handle: Handle, mark: Mark): Awaitable<void> {
    return andThen(this.#groups.load(task, groupOf(mark.block)), markIn, task, handle, mark, this.#groups);
  }

  /** Give an inode back: its slot is zeroed. Its block goes too, when that was the last in it. Takes alloc_lock. @throws EIO EROFS */
  free(task: Task, handle: Handle, ino: number): Awaitable<void> {
    return andThen(
      this.#alloc.alloc_lock.lock(task),
      InodeAllocator.#locked,
      task,
      handle,
      ino,
      this,
      InodeAllocator.#freeHeld,
    );
  }

  static #freeHeld(_lock: Held, task: Task, handle: Handle, ino: number, inodes: InodeAllocator): Awaitable<void> {
    return andThen(inodes.#changedSuper(task, handle), InodeAllocator.#freeIn, task, handle, ino, inodes);
  }

  static #freeIn(_may: void, task: Task, handle: Handle, ino: number, inodes: InodeAllocator): Awaitable<void> {
    return inodes.#free(task, handle, ino);
  }

  #free(task: Task, handle: Handle, ino: number): Awaitable<void> {
    const block = Math.floor(ino / INODES_PER_BLOCK);
    return andThen(sb_bread(task, this.#bdev, block), InodeAllocator.#access, task, handle, ino, this, freeSlotOf);
  }

  /** Zero the slot of an inode in a block that may be written to; gives the block's reference back, or the block. */
  freeSlot(task: Task, handle: Handle, bh: BufferHead, ino: number): Awaitable<void> {
    const { b_blocknr: block } = bh;
    const at = (ino % INODES_PER_BLOCK) * INODE_SIZE;
    const wasFull = freeSlot(bh, 0) === undefined;
    bh.b_data.fill(0, at, at + INODE_SIZE);
    handle.dirty_metadata(task, bh);
    this.#super.inodes--;
    const empty = isEmpty(bh);
    if (empty && block !== ROOT_BLOCK && block !== this.#spare) {
      if (this.#spare !== undefined) return this.#freeBlock(task, handle, block, bh);
      this.#spare = block;
    }
    brelse(bh);
    return wasFull ? this.#mark(task, handle, { which: ROOM_BITMAP, block, on: true }) : undefined;
  }

  async #freeBlock(task: Task, handle: Handle, block: number, bh: BufferHead): Promise<void> {
    this.#super.inodeBlocks--;
    await this.#mark(task, handle, { which: INODE_BITMAP, block, on: false });
    await this.#mark(task, handle, { which: ROOM_BITMAP, block, on: false });
    handle.forget(task, bh);
    await this.#alloc.freeLocked(task, handle, block, 1);
  }
}

type UnderLock<T> = (lock: Held, task: Task, handle: Handle, what: number, inodes: InodeAllocator) => Awaitable<T>;

type InBlock<T> = (
  may: void,
  bh: BufferHead,
  task: Task,
  handle: Handle,
  what: number,
  inodes: InodeAllocator,
) => Awaitable<T>;

function claimSlotOf(
  _may: void,
  bh: BufferHead,
  task: Task,
  handle: Handle,
  mode: number,
  inodes: InodeAllocator,
): Awaitable<number> {
  return inodes.claimSlot(task, handle, bh, mode);
}

function freeSlotOf(
  _may: void,
  bh: BufferHead,
  task: Task,
  handle: Handle,
  ino: number,
  inodes: InodeAllocator,
): Awaitable<void> {
  return inodes.freeSlot(task, handle, bh, ino);
}

/** A bit of a bitmap that is to change. */
interface Mark {
  readonly which: Bitmap;
  readonly block: number;
  readonly on: boolean;
}

function markIn(group: Group, task: Task, handle: Handle, mark: Mark, groups: Groups): Awaitable<void> {
  return andThen(groups.access(task, handle, group, mark.which), changeBit, task, handle, group, mark, groups);
}

function changeBit(
  bh: BufferHead,
  task: Task,
  handle: Handle,
  group: Group,
  { which, block, on }: Mark,
  groups: Groups,
): void {
  if (on) setBit(bh.b_data, block - group.base);
  else clearBit(bh.b_data, block - group.base);
  if (on && which === ROOM_BITMAP) group.full = false;
  groups.changed(task, handle, group, which, bh);
}

/** The first free slot from `from` on. */
function freeSlot(bh: BufferHead, from: number): number | undefined {
  for (let slot = from; slot < INODES_PER_BLOCK; slot++) {
    if (get32(bh.b_data, slot * INODE_SIZE) === 0) return slot;
  }
  return undefined;
}

function isEmpty(bh: BufferHead): boolean {
  for (let slot = 0; slot < INODES_PER_BLOCK; slot++) {
    if (get32(bh.b_data, slot * INODE_SIZE) !== 0) return false;
  }
  return true;
}
