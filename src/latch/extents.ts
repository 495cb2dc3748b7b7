/** The extents of one file in memory: sorted, without overlaps, neighbours merged. Pure data: no device, no locks. */
import type { Extent } from './format/inode.js';

export class ExtentMap {
  /** Sorted by logical block. */
  readonly list: Extent[];

  constructor(list: Extent[] = []) {
    this.list = list;
  }

  /** Blocks mapped. */
  get blocks(): number {
    return this.list.reduce((sum, extent) => sum + extent.length, 0);
  }

  /** The index of the first extent that ends behind `block`. */
  #from(block: number): number {
    let low = 0;
    let high = this.list.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const extent = this.list[middle];
      if (extent !== undefined && extent.logical + extent.length <= block) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The extent that maps `block`, or undefined for a hole. */
  find(block: number): Extent | undefined {
    const extent = this.list[this.#from(block)];
    return extent !== undefined && extent.logical <= block ? extent : undefined;
  }

  /** The first extent that ends behind `block`: the one that maps it, or the next. */
  next(block: number): Extent | undefined {
    return this.list[this.#from(block)];
  }

  /** Map a hole. The range must not be mapped yet. */
  insert(extent: Extent): void {
    const at = this.#from(extent.logical);
    this.list.splice(at, 0, { ...extent });
    this.#merge(at);
    this.#merge(at - 1);
  }

  /** Join the extent at `index` with the next one where they continue each other. */
  #merge(index: number): void {
    const a = this.list[index];
    const b = this.list[index + 1];
    if (a === undefined || b === undefined || a.unwritten !== b.unwritten) return;
    if (a.logical + a.length !== b.logical || a.physical + a.length !== b.physical) return;
    a.length += b.length;
    this.list.splice(index + 1, 1);
  }

  /** Unmap blocks `start` to `end` exclusive. @returns what was mapped there */
  remove(start: number, end: number): Extent[] {
    const removed: Extent[] = [];
    for (let at = this.#from(start); at < this.list.length; ) {
      const extent = this.list[at];
      if (extent === undefined || extent.logical >= end) break;
      const from = Math.max(start, extent.logical);
      const to = Math.min(end, extent.logical + extent.length);
      removed.push({
        logical: from,
        length: to - from,
        physical: extent.physical + (from - extent.logical),
        unwritten: extent.unwritten,
      });
      const pieces: Extent[] = [];
      if (from > extent.logical) pieces.push({ ...extent, length: from - extent.logical });
      const tail = extent.logical + extent.length - to;
      if (tail > 0) {
        pieces.push({ ...extent, logical: to, length: tail, physical: extent.physical + (to - extent.logical) });
      }
      this.list.splice(at, 1, ...pieces);
      at += from > extent.logical ? 1 : 0;
    }
    return removed;
  }

  /** Say of mapped blocks whether they are written. */
  mark(start: number, end: number, unwritten: boolean): void {
    for (const extent of this.remove(start, end)) this.insert({ ...extent, unwritten });
  }

  /** Move everything from block `from` on by `by` blocks, which may be negative; the room must be free. */
  shift(from: number, by: number): void {
    const moved = this.remove(from, Number.MAX_SAFE_INTEGER);
    for (const extent of moved) this.insert({ ...extent, logical: extent.logical + by });
  }
}
