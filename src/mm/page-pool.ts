/** Where the bytes of folios come from: pages cut out of slabs, so that neither the heap nor the collector sees them. */
import { PAGE_SIZE } from './folio.js';

/** Bytes in a slab. */
export const SLAB_SIZE = 1 << 20;

interface Slab {
  /** Its free pages. Each page is one Buffer for as long as the slab lives. */
  readonly free: Buffer[];
  readonly pages: number;
}

export class PagePool {
  readonly #slabs = new Map<ArrayBufferLike, Slab>();
  /** Slabs with at least one free page; the last is used first, so that the others may become empty. */
  #partial: Slab[] = [];
  #used = 0;

  /** Pages handed out. */
  get used(): number {
    return this.#used;
  }

  /** Bytes taken from the system. */
  get reserved(): number {
    return this.#slabs.size * SLAB_SIZE;
  }

  /** A page of PAGE_SIZE bytes with anything in it. */
  alloc(): Buffer {
    const slab = this.#partial[this.#partial.length - 1] ?? this.#grow();
    const page = slab.free.pop();
    if (page === undefined) throw new Error('page pool: a full slab is on the list of those with free pages');
    if (slab.free.length === 0) this.#partial.pop();
    this.#used++;
    return page;
  }

  /** Give back a page that `alloc` has returned. A slab without used pages goes back to the system, except the last. */
  free(page: Buffer): void {
    const slab = this.#slabs.get(page.buffer);
    if (slab === undefined) throw new Error('page pool: a page is freed that is not of the pool');
    slab.free.push(page);
    this.#used--;
    if (slab.free.length === 1) this.#partial.push(slab);
    // One empty slab stays, so that a load that swings around a slab's edge does not allocate each time.
    if (slab.free.length === slab.pages && this.#partial.length > 1) {
      this.#slabs.delete(page.buffer);
      this.#partial.splice(this.#partial.indexOf(slab), 1);
    }
  }

  #grow(): Slab {
    const memory = Buffer.allocUnsafeSlow(SLAB_SIZE);
    const pages = SLAB_SIZE / PAGE_SIZE;
    const free: Buffer[] = [];
    for (let i = pages - 1; i >= 0; i--) free.push(memory.subarray(i * PAGE_SIZE, (i + 1) * PAGE_SIZE));
    const slab: Slab = { free, pages };
    this.#slabs.set(memory.buffer, slab);
    this.#partial.push(slab);
    return slab;
  }
}
