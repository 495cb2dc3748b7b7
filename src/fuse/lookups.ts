/**
 * How often the kernel was told of each node: a table of node ids and counts in arrays outside the heap. The kernel remembers as many nodes as its own memory allows, millions of
 * them, and each costs 12 to 48 bytes here. Open addressing with linear probing; what follows a removed entry moves up.
 */

const MIN_SLOTS = 1024;

/** Spread ids, which are mostly numbers in a row, over 32 bits. */
function mixed(id: number): number {
  const low = Math.imul(id >>> 0, 0x9e3779b1);
  const high = Math.imul((id / 2 ** 32) >>> 0, 0x85ebca6b);
  const both = low ^ high;
  return (both ^ (both >>> 15)) >>> 0;
}

export class Lookups {
  /** 0 where there is none: it is no node id. */
  #ids = new Float64Array(MIN_SLOTS);
  #counts = new Uint32Array(MIN_SLOTS);
  #size = 0;

  /** Nodes with a count. */
  get size(): number {
    return this.#size;
  }

  /** Bytes that the table takes. */
  get bytes(): number {
    return this.#ids.byteLength + this.#counts.byteLength;
  }

  has(id: number): boolean {
    return this.#ids[this.#slot(id)] === id;
  }

  /** @param id from 1 to 2^53 - 1 */
  add(id: number): void {
    const at = this.#slot(id);
    const ids = this.#ids;
    if (ids[at] !== id) {
      ids[at] = id;
      this.#counts[at] = 1;
      this.#size++;
      if (this.#size > ids.length / 2) this.#resize(ids.length * 2);
    } else this.#counts[at] = (this.#counts[at] ?? 0) + 1;
  }

  /** Take `count` off; at 0 or below it is forgotten. @returns whether it is */
  sub(id: number, count: number): boolean {
    const at = this.#slot(id);
    if (this.#ids[at] !== id) return true;
    const left = (this.#counts[at] ?? 0) - count;
    if (left > 0) {
      this.#counts[at] = left;
      return false;
    }
    this.#remove(at);
    this.#size--;
    if (this.#ids.length > MIN_SLOTS && this.#size < this.#ids.length / 8) this.#resize(this.#ids.length / 2);
    return true;
  }

  clear(): void {
    this.#ids = new Float64Array(MIN_SLOTS);
    this.#counts = new Uint32Array(MIN_SLOTS);
    this.#size = 0;
  }

  /** Where an id is, or would be put. */
  #slot(id: number): number {
    const ids = this.#ids;
    const mask = ids.length - 1;
    let at = mixed(id) & mask;
    while (ids[at] !== 0 && ids[at] !== id) at = (at + 1) & mask;
    return at;
  }

  /** Empty a slot; later entries of the run that may not stay behind a gap move into it. */
  #remove(slot: number): void {
    const ids = this.#ids;
    const counts = this.#counts;
    const mask = ids.length - 1;
    let gap = slot;
    for (let at = (gap + 1) & mask; ids[at] !== 0; at = (at + 1) & mask) {
      const home = mixed(ids[at] ?? 0) & mask;
      if (((at - home) & mask) < ((at - gap) & mask)) continue;
      ids[gap] = ids[at] ?? 0;
      counts[gap] = counts[at] ?? 0;
      gap = at;
    }
    ids[gap] = 0;
  }

  #resize(slots: number): void {
    const [ids, counts] = [this.#ids, this.#counts];
    this.#ids = new Float64Array(slots);
    this.#counts = new Uint32Array(slots);
    for (let at = 0; at < ids.length; at++) {
      const id = ids[at] ?? 0;
      if (id === 0) continue;
      const to = this.#slot(id);
      this.#ids[to] = id;
      this.#counts[to] = counts[at] ?? 0;
    }
  }
}
