/**
 * Pages of 4 KiB cut out of slabs of 2 MiB, outside the heap and invisible to the collector. What is freed goes back to the system
 * while the collector sleeps: its memory is released in place, and only the address space stays. A little of it is kept back, so
 * that who frees and takes again by turns pays no system call and no page fault.
 */
import { pageOffset, releasePages } from './libc.js';

/** Bytes in a slot. */
export const SLOT_SIZE = 4096;
/** Slots in a slab. */
export const SLAB_SLOTS = 512;
/** Bytes in a slab. */
export const SLAB_SIZE = SLOT_SIZE * SLAB_SLOTS;
/** Slots that may be free and still have memory behind them: 8 MiB. Above that all of them are released. */
export const MAX_STALE = 2048;
/** Empty slabs that stay as address space, without memory behind it: taking it anew would wake the collector. */
const SPARE_SLABS = 256;
const WORDS = SLAB_SLOTS / 32;

class Slab {
  readonly id: number;
  readonly bytes: Buffer;
  /** One bit for each slot, set where it is free. */
  readonly map = new Uint32Array(WORDS).fill(0xffffffff);
  /** One bit for each slot, set where it is free and has memory behind it. */
  readonly stale = new Uint32Array(WORDS);
  free = SLAB_SLOTS;
  /** No word before this one has a free slot. */
  hint = 0;
  /** Its place in the list of slabs with free slots and used ones, -1 where it is full or empty. */
  place = -1;
  #views: (Buffer | undefined)[] = [];

  constructor(id: number) {
    this.id = id;
    const memory = Buffer.allocUnsafeSlow(SLAB_SIZE + SLOT_SIZE);
    const start = pageOffset(memory, SLOT_SIZE);
    this.bytes = memory.subarray(start, start + SLAB_SIZE);
  }

  /** The lowest free slot, so that what is stored in order lies in order. @returns the slot */
  take(): number {
    for (let word = this.hint; word < WORDS; word++) {
      const bits = this.map[word] ?? 0;
      if (bits === 0) continue;
      const bit = 31 - Math.clz32(bits & -bits);
      this.map[word] = bits & ~(1 << bit);
      this.hint = word;
      this.free--;
      return word * 32 + bit;
    }
    throw new Error('slab: a full slab is on the list of those with free slots');
  }

  give(slot: number): void {
    const word = slot >>> 5;
    const bits = this.map[word] ?? 0;
    const bit = 1 << (slot & 31);
    if ((bits & bit) !== 0) throw new Error('slab: a slot is freed twice');
    this.map[word] = bits | bit;
    this.stale[word] = (this.stale[word] ?? 0) | bit;
    if (word < this.hint) this.hint = word;
    this.free++;
  }

  /** A slot that was taken has memory behind it again. @returns whether it had before */
  claim(slot: number): boolean {
    const word = slot >>> 5;
    const bits = this.stale[word] ?? 0;
    const bit = 1 << (slot & 31);
    this.stale[word] = bits & ~bit;
    return (bits & bit) !== 0;
  }

  view(slot: number): Buffer {
    const known = this.#views[slot];
    if (known !== undefined) return known;
    const view = this.bytes.subarray(slot * SLOT_SIZE, (slot + 1) * SLOT_SIZE);
    this.#views[slot] = view;
    return view;
  }

  /** Give the memory behind every free slot back to the system, run by run. */
  release(): void {
    let first = -1;
    for (let slot = 0; slot <= SLAB_SLOTS; slot++) {
      const stale = slot < SLAB_SLOTS && ((this.stale[slot >>> 5] ?? 0) & (1 << (slot & 31))) !== 0;
      if (stale && first < 0) first = slot;
      if (stale || first < 0) continue;
      releasePages(this.bytes.subarray(first * SLOT_SIZE, slot * SLOT_SIZE));
      first = -1;
    }
    this.stale.fill(0);
    if (this.free === SLAB_SLOTS) this.#views = [];
  }
}

export class SlabPool {
  readonly #slabs: (Slab | undefined)[] = [];
  /** Slabs with free slots and used ones; the last is used first, so that the others may become empty. */
  readonly #partial: Slab[] = [];
  readonly #empty: Slab[] = [];
  /** Slabs with free slots that have memory behind them. */
  readonly #unreleased = new Set<Slab>();
  /** Ids of slabs that were dropped. */
  readonly #vacant: number[] = [];
  #used = 0;
  #stale = 0;

  /** Slots handed out. */
  get used(): number {
    return this.#used;
  }

  /** Bytes of the slabs of which at least one slot is in use. */
  get reserved(): number {
    return (this.#slabs.length - this.#vacant.length - this.#empty.length) * SLAB_SIZE;
  }

  /** Bytes with memory behind them: what is in use, and what was freed and is kept back for now. */
  get resident(): number {
    return (this.#used + this.#stale) * SLOT_SIZE;
  }

  /** A slot with anything in it. @returns its number, from 0 */
  alloc(): number {
    const slab = this.#partial[this.#partial.length - 1] ?? this.#begin();
    return this.#takeFrom(slab);
  }

  #takeFrom(slab: Slab): number {
    const slot = slab.take();
    if (slab.claim(slot)) this.#stale--;
    if (slab.free === 0) this.#unlist(slab);
    this.#used++;
    return slab.id * SLAB_SLOTS + slot;
  }

  /** All the slots of an empty slab, which lie together. @returns the first */
  allocSlab(): number {
    const slab = this.#begin();
    this.#unlist(slab);
    const first = slab.id * SLAB_SLOTS;
    for (let i = 0; i < SLAB_SLOTS; i++) if (slab.claim(slab.take())) this.#stale--;
    this.#used += SLAB_SLOTS;
    return first;
  }

  /** A slot in a slab that is in use and not one of `slabs`, the fullest such; undefined where those are full. */
  allocOutside(slabs: ReadonlySet<number>): number | undefined {
    let best: Slab | undefined;
    for (const slab of this.#partial) {
      if (!slabs.has(slab.id) && (best === undefined || slab.free < best.free)) best = slab;
    }
    return best === undefined ? undefined : this.#takeFrom(best);
  }

  /** The number of a slot's slab. */
  slabOf(slot: number): number {
    return Math.floor(slot / SLAB_SLOTS);
  }

  /** Slots of a slab that are in use. */
  usedIn(slab: number): number {
    return SLAB_SLOTS - (this.#slabs[slab]?.free ?? SLAB_SLOTS);
  }

  free(slot: number): void {
    this.freeRun(slot, 1);
  }

  /** Free `count` slots that follow each other in one slab. */
  freeRun(first: number, count: number): void {
    const slab = this.#slabOf(first);
    const start = first % SLAB_SLOTS;
    for (let slot = start; slot < start + count; slot++) slab.give(slot);
    this.#used -= count;
    this.#stale += count;
    this.#unreleased.add(slab);
    if (slab.free === SLAB_SLOTS) this.#emptied(slab);
    else if (slab.place < 0) {
      slab.place = this.#partial.length;
      this.#partial.push(slab);
    }
    if (this.#stale > MAX_STALE) this.release();
  }

  /** Give the memory behind everything that is free back to the system now. */
  release(): void {
    for (const slab of this.#unreleased) slab.release();
    this.#unreleased.clear();
    this.#stale = 0;
    while (this.#empty.length > SPARE_SLABS) {
      const slab = this.#empty.pop();
      if (slab === undefined) break;
      this.#slabs[slab.id] = undefined;
      this.#vacant.push(slab.id);
    }
  }

  /** The slab of a slot, of which the slot is the part from `offset(slot)` on. */
  bytes(slot: number): Buffer {
    return this.#slabOf(slot).bytes;
  }

  /** Where a slot begins in its slab. */
  offset(slot: number): number {
    return (slot % SLAB_SLOTS) * SLOT_SIZE;
  }

  /** The bytes of one slot. The same Buffer each time while its slab is in use. */
  view(slot: number): Buffer {
    return this.#slabOf(slot).view(slot % SLAB_SLOTS);
  }

  #slabOf(slot: number): Slab {
    const slab = this.#slabs[Math.floor(slot / SLAB_SLOTS)];
    if (slab === undefined) throw new Error(`slab: slot ${slot} is not in use`);
    return slab;
  }

  /** Begin to use an empty slab. */
  #begin(): Slab {
    let slab = this.#empty.pop();
    if (slab === undefined) {
      slab = new Slab(this.#vacant.pop() ?? this.#slabs.length);
      this.#slabs[slab.id] = slab;
    }
    slab.place = this.#partial.length;
    this.#partial.push(slab);
    return slab;
  }

  #emptied(slab: Slab): void {
    if (slab.place >= 0) this.#unlist(slab);
    this.#empty.push(slab);
  }

  /** It is not partly used any more. */
  #unlist(slab: Slab): void {
    const last = this.#partial.pop();
    if (last !== undefined && last !== slab) {
      this.#partial[slab.place] = last;
      last.place = slab.place;
    }
    slab.place = -1;
  }
}
