/**
 * The buffers of one device: found by block number, kept while somebody has a reference, and after that until memory is
 * wanted, least recently used first.
 */
import type { ErrseqCursor } from '../sched/errseq.js';
import type { BlockDevice } from './block-device.js';
import { BLOCK_SIZE, BufferHead } from './buffer-head.js';
import { SlabPool } from './slab.js';

/** Buffers kept before clean ones are dropped: 64 MiB. */
const DEFAULT_LIMIT = (64 << 20) / BLOCK_SIZE;
/** Unused buffers looked at in one search for what can be dropped. */
const SCAN = 256;
/** What the bytes of a dropped buffer are replaced with: touching them is an exception rather than a change to another block. */
const GONE = Buffer.alloc(0);

export class BufferStore {
  /** Buffers that may stay in memory; more only where they are in use, dirty, or a journal's. */
  limit = DEFAULT_LIMIT;
  /** Up to where sync_blockdev has told of write errors. */
  errorsTold: ErrseqCursor = 0;
  /** Buffers on their way to the device. */
  readonly writing = new Set<BufferHead>();
  readonly #blocks = new Map<number, BufferHead>();
  /** In the order in which they became dirty. */
  readonly #dirty = new Set<BufferHead>();
  readonly #pool = new SlabPool();
  /** The ends of the list of buffers without references. */
  #oldest: BufferHead | undefined;
  #newest: BufferHead | undefined;

  /** Buffers in memory. */
  get size(): number {
    return this.#blocks.size;
  }

  /** Buffers that are dirty, a journal's included. */
  get dirtyCount(): number {
    return this.#dirty.size;
  }

  /** Bytes of memory taken from the machine. */
  get allocatedBytes(): number {
    return this.#pool.reserved;
  }

  /** The buffer of a block with one more reference, or undefined where it is not in memory. */
  find(block: number): BufferHead | undefined {
    const bh = this.#blocks.get(block);
    if (bh !== undefined) this.get(bh);
    return bh;
  }

  /** A buffer for a block that has none, with one reference and anything in it. Drops others where there are too many. */
  create(bdev: BlockDevice, block: number): BufferHead {
    if (this.#blocks.size >= this.limit) this.shrink(this.limit - (this.limit >>> 5) - 1, SCAN);
    const slot = this.#pool.alloc();
    const bh = new BufferHead(bdev, block, this.#pool.view(slot), slot);
    bh.b_count = 1;
    this.#blocks.set(block, bh);
    return bh;
  }

  get(bh: BufferHead): void {
    if (bh.b_count++ === 0) this.#unlink(bh);
  }

  /** @returns false where there was no reference to give back */
  put(bh: BufferHead): boolean {
    if (bh.b_count === 0) return false;
    if (--bh.b_count === 0) this.#append(bh);
    return true;
  }

  setDirty(bh: BufferHead): void {
    bh.dirty = true;
    this.#dirty.add(bh);
  }

  clearDirty(bh: BufferHead): void {
    bh.dirty = false;
    this.#dirty.delete(bh);
  }

  /** Up to `limit` dirty buffers that no journal holds, of blocks `first` to `last`, the longest dirty first, in the order of the device. */
  writable(limit: number, first = 0, last = Number.POSITIVE_INFINITY): BufferHead[] {
    const due: BufferHead[] = [];
    for (const bh of this.#dirty) {
      if (due.length >= limit) break;
      if (bh.private === undefined && bh.b_blocknr >= first && bh.b_blocknr <= last) due.push(bh);
    }
    return due.sort((a, b) => a.b_blocknr - b.b_blocknr);
  }

  /**
   * Drop clean buffers without references until `target` are left.
   * @param scan how many unused buffers to look at, at most
   * @returns how many were dropped
   */
  shrink(target: number, scan = Number.POSITIVE_INFINITY): number {
    let dropped = 0;
    let looked = Math.min(scan, this.#blocks.size);
    for (let bh = this.#oldest; bh !== undefined && looked > 0 && this.#blocks.size > target; looked--) {
      const next: BufferHead | undefined = bh.newer;
      this.#unlink(bh);
      if (bh.dirty || bh.private !== undefined || bh.lock.locked) this.#append(bh);
      else {
        this.#drop(bh);
        dropped++;
      }
      bh = next;
    }
    return dropped;
  }

  /** Its bytes go; the object stays with those who should not have it any more. */
  #drop(bh: BufferHead): void {
    this.#blocks.delete(bh.b_blocknr);
    bh.b_data = GONE;
    bh.uptodate = false;
    this.#pool.free(bh.slot);
  }

  #append(bh: BufferHead): void {
    bh.older = this.#newest;
    bh.newer = undefined;
    if (this.#newest === undefined) this.#oldest = bh;
    else this.#newest.newer = bh;
    this.#newest = bh;
  }

  #unlink(bh: BufferHead): void {
    if (bh.older === undefined) this.#oldest = bh.newer;
    else bh.older.newer = bh.newer;
    if (bh.newer === undefined) this.#newest = bh.older;
    else bh.newer.older = bh.older;
    bh.older = undefined;
    bh.newer = undefined;
  }
}
