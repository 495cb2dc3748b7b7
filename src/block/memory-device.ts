/**
 * A device in memory, up to 16 TiB, that holds what is stored and nothing else (drivers/block/brd.c). A block that was never written, was
 * discarded, or was written as zeroes takes no memory.
 */
import { errno } from '../sched/errno.js';
import type { Scheduler } from '../sched/scheduler.js';
import type { Validator } from '../sched/validator.js';
import { SECTOR_SIZE } from './bio.js';
import { BlockDevice } from './block-device.js';
import type { Driver } from './request-queue.js';
import { SLOT_SIZE as BLOCK, SLAB_SLOTS, SlabPool } from './slab.js';

/** Entries in a table of either level: a leaf covers 2 MiB, a table of leaves 1 GiB. */
const FANOUT = 512;
const LEAF_BITS = 9;
const ZERO = Buffer.alloc(BLOCK);
/** The largest device, in bytes: block numbers stay within 32 bits. */
export const MAX_MEMORY_DEVICE = 2 ** 32 * BLOCK;

/** ioctl: how many bytes are stored, and how many the slabs for them take; two numbers of 64 bits. */
export const MEMORY_GET_STAT = 0x80104d01;

/** The slots of 512 blocks, as slot + 1; 0 is a hole. */
interface Leaf {
  readonly slots: Uint32Array;
  stored: number;
}

/** Where 512 leaves are. */
interface Table {
  readonly leaves: (Leaf | undefined)[];
  present: number;
}

function isZero(bytes: Buffer, start: number, end: number): boolean {
  return bytes[start] === 0 && bytes.compare(ZERO, 0, end - start, start, end) === 0;
}

export class SparseMemory implements Driver {
  readonly #tables: (Table | undefined)[] = [];
  readonly #pool = new SlabPool();
  /** Slots that somebody has direct access to, and their blocks: until unpin a discard zeroes them where they are. */
  readonly #pinned = new Map<number, number>();

  /** Bytes of the blocks that are stored. */
  get storedBytes(): number {
    return this.#pool.used * BLOCK;
  }

  /** Bytes of memory taken from the machine. */
  get allocatedBytes(): number {
    return this.#pool.reserved;
  }

  read(offset: number, into: Buffer): void {
    for (let done = 0; done < into.length; ) {
      const position = offset + done;
      const block = Math.floor(position / BLOCK);
      const within = position % BLOCK;
      const slot = this.#find(block);
      const size = this.#contiguous(block, slot, within, into.length - done);
      if (slot < 0) into.fill(0, done, done + size);
      else {
        const at = this.#pool.offset(slot) + within;
        this.#pool.bytes(slot).copy(into, done, at, at + size);
      }
      done += size;
    }
  }

  write(offset: number, from: Buffer): void {
    for (let done = 0; done < from.length; ) {
      const position = offset + done;
      const within = position % BLOCK;
      const size = Math.min(BLOCK - within, from.length - done);
      this.#writeBlock(Math.floor(position / BLOCK), within, from, done, done + size);
      done += size;
    }
  }

  zero(offset: number, length: number): void {
    this.discard(offset, length);
  }

  /** Forget a range: whole blocks are given back, the parts of blocks at its ends are zeroed. */
  discard(offset: number, length: number): void {
    const end = offset + length;
    const first = Math.ceil(offset / BLOCK);
    const last = Math.floor(end / BLOCK);
    if (first > last) {
      this.#zeroPart(first - 1, offset % BLOCK, end % BLOCK);
      return;
    }
    if (offset % BLOCK !== 0) this.#zeroPart(first - 1, offset % BLOCK, BLOCK);
    if (end % BLOCK !== 0) this.#zeroPart(last, 0, end % BLOCK);
    this.#drop(first, last);
  }

  flush(): undefined {
    return undefined;
  }

  /**
   * The stored bytes of the block at a byte offset themselves, and of those behind it that lie in one piece with it. A hole is filled with a zeroed
   * block first, as brd does; 2 MiB of holes, if the offset is where they begin, with 2 MiB in one piece.
   * @param most bytes wanted
   */
  direct(offset: number, most: number): Buffer {
    const block = Math.floor(offset / BLOCK);
    let slot = this.#find(block);
    if (slot < 0) {
      if (block % FANOUT === 0 && most >= FANOUT * BLOCK && this.#leafOf(block) === undefined) this.#storeLeaf(block);
      else this.#pool.view(this.#store(block)).fill(0);
      slot = this.#find(block);
    }
    const length = this.#contiguous(block, slot, 0, most);
    for (let i = 0; i < length / BLOCK; i++) this.#pinned.set(slot + i, block + i);
    const start = this.#pool.offset(slot);
    return this.#pool.bytes(slot).subarray(start, start + length);
  }

  /** Blocks that were only looked at, or hold zeroes again, become holes. */
  unpin(): void {
    const pinned = [...this.#pinned];
    this.#pinned.clear();
    for (const [slot, block] of pinned) {
      const at = this.#pool.offset(slot);
      if (this.#find(block) === slot && isZero(this.#pool.bytes(slot), at, at + BLOCK)) this.#drop(block, block + 1);
    }
  }

  /** @throws ENOTTY */
  ioctl(cmd: number): Buffer {
    if (cmd !== MEMORY_GET_STAT) throw errno('ENOTTY');
    const stat = Buffer.alloc(16);
    stat.writeBigUInt64LE(BigInt(this.storedBytes), 0);
    stat.writeBigUInt64LE(BigInt(this.allocatedBytes), 8);
    return stat;
  }

  #leafOf(block: number): Leaf | undefined {
    return this.#tables[block >>> (2 * LEAF_BITS)]?.leaves[(block >>> LEAF_BITS) & (FANOUT - 1)];
  }

  /** A whole slab of zeroes for 512 blocks that are holes. */
  #storeLeaf(block: number): void {
    const first = this.#pool.allocSlab();
    const leaf = this.#makeLeaf(block);
    for (let i = 0; i < FANOUT; i++) leaf.slots[i] = first + i + 1;
    leaf.stored = FANOUT;
    this.#pool.bytes(first).fill(0);
  }

  /** The slot of a block, -1 for a hole. */
  #find(block: number): number {
    const leaf = this.#leafOf(block);
    return leaf === undefined ? -1 : (leaf.slots[block & (FANOUT - 1)] ?? 0) - 1;
  }

  /** How many bytes from `within` a block on, at most `most`, lie in one piece of memory, or in one hole. */
  #contiguous(block: number, slot: number, within: number, most: number): number {
    let size = BLOCK - within;
    for (let next = 1; size < most; next++) {
      const follows = this.#find(block + next);
      if (slot < 0 ? follows >= 0 : follows !== slot + next || follows % SLAB_SLOTS === 0) break;
      size += BLOCK;
    }
    return Math.min(size, most);
  }

  #writeBlock(block: number, within: number, from: Buffer, start: number, end: number): void {
    const zero = isZero(from, start, end);
    let slot = this.#find(block);
    const whole = end - start === BLOCK;
    if (zero && (slot < 0 || whole)) {
      if (slot >= 0) this.#drop(block, block + 1);
      return;
    }
    const hole = slot < 0;
    if (hole) slot = this.#store(block);
    const bytes = this.#pool.bytes(slot);
    const at = this.#pool.offset(slot);
    if (hole && !whole) bytes.fill(0, at, at + BLOCK);
    from.copy(bytes, at + within, start, end);
  }

  #zeroPart(block: number, from: number, to: number): void {
    const slot = this.#find(block);
    if (slot < 0) return;
    const at = this.#pool.offset(slot);
    const bytes = this.#pool.bytes(slot);
    bytes.fill(0, at + from, at + to);
    if (isZero(bytes, at, at + BLOCK)) this.#drop(block, block + 1);
  }

  /** Give a hole a slot. */
  #store(block: number): number {
    const leaf = this.#makeLeaf(block);
    const slot = this.#pool.alloc();
    leaf.slots[block & (FANOUT - 1)] = slot + 1;
    leaf.stored++;
    return slot;
  }

  #makeLeaf(block: number): Leaf {
    const high = block >>> (2 * LEAF_BITS);
    let table = this.#tables[high];
    if (table === undefined) {
      table = { leaves: new Array<Leaf | undefined>(FANOUT).fill(undefined), present: 0 };
      this.#tables[high] = table;
    }
    const middle = (block >>> LEAF_BITS) & (FANOUT - 1);
    let leaf = table.leaves[middle];
    if (leaf === undefined) {
      leaf = { slots: new Uint32Array(FANOUT), stored: 0 };
      table.leaves[middle] = leaf;
      table.present++;
    }
    return leaf;
  }

  /** Make holes of the blocks from `first` up to `last`, without it. Ranges that store nothing are stepped over. */
  #drop(first: number, last: number): void {
    for (let block = first; block < last; ) {
      const high = Math.floor(block / (FANOUT * FANOUT));
      const table = this.#tables[high];
      if (table === undefined) {
        block = (high + 1) * FANOUT * FANOUT;
        continue;
      }
      const middle = Math.floor(block / FANOUT) % FANOUT;
      const end = Math.min(last, (Math.floor(block / FANOUT) + 1) * FANOUT);
      const leaf = table.leaves[middle];
      if (leaf !== undefined) {
        this.#dropInLeaf(leaf, block % FANOUT, (block % FANOUT) + end - block);
        if (leaf.stored === 0) {
          table.leaves[middle] = undefined;
          if (--table.present === 0) this.#tables[high] = undefined;
        }
      }
      block = end;
    }
  }

  /** Slots that follow each other go back together, so that their pages can be released with one call. */
  #dropInLeaf(leaf: Leaf, from: number, to: number): void {
    let first = -1;
    let count = 0;
    for (let entry = from; entry < to; entry++) {
      const slot = (leaf.slots[entry] ?? 0) - 1;
      if (slot < 0) continue;
      if (this.#pinned.has(slot)) {
        this.#pool.view(slot).fill(0);
        continue;
      }
      leaf.slots[entry] = 0;
      leaf.stored--;
      if (count > 0 && slot === first + count && slot % SLAB_SLOTS !== 0) count++;
      else {
        if (count > 0) this.#pool.freeRun(first, count);
        first = slot;
        count = 1;
      }
    }
    if (count > 0) this.#pool.freeRun(first, count);
  }
}

/**
 * Make a memory device.
 * @param size bytes, at most MAX_MEMORY_DEVICE
 * @throws EFBIG for more; its direct_access throws ERANGE beyond the end, and EINVAL for a part of a block
 */
export function memoryDevice(size: number, sched: Scheduler, validator: Validator): BlockDevice {
  if (size > MAX_MEMORY_DEVICE) throw errno('EFBIG', `a memory device holds at most ${MAX_MEMORY_DEVICE} bytes`);
  const memory = new SparseMemory();
  return new BlockDevice(
    { name: 'memory', size, readOnly: false, ephemeral: true },
    memory,
    {
      direct_access: (_task, bdev, sector, length) => {
        const offset = sector * SECTOR_SIZE;
        if (offset >= bdev.size) throw errno('ERANGE', 'direct access beyond the end');
        if (offset % BLOCK !== 0) throw errno('EINVAL', 'direct access to a part of a block');
        return memory.direct(offset, Math.min(Math.max(length, BLOCK), bdev.size - offset));
      },
      ioctl: (_task, _bdev, _mode, cmd) => memory.ioctl(cmd),
      // Its command has no pointers and no longs: it is the same for all.
      compat_ioctl: (_task, _bdev, _mode, cmd) => memory.ioctl(cmd),
      // A slot of swap that nobody refers to any more takes no memory.
      swap_slot_free_notify: (_task, _bdev, slot) => memory.discard(slot * BLOCK, BLOCK),
      getgeo: () => ({ heads: 64, sectors: 32, cylinders: Math.floor(size / (64 * 32 * SECTOR_SIZE)), start: 0 }),
    },
    sched,
    validator,
  );
}
