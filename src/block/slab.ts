/**
 * Blocks of 4 KiB cut out of slabs of 2 MiB, outside the heap and invisible to the collector. What is freed goes back to the system at
 * once: an empty slab whole, a long run in a slab in use as pages.
 */
import { pageOffset, releasePages } from './libc.js';

/** Bytes in a slot. */
export const SLOT_SIZE = 4096;
/** Slots in a slab. */
export const SLAB_SLOTS = 512;
/** Bytes in a slab. */
export const SLAB_SIZE = SLOT_SIZE * SLAB_SLOTS;
/** Slots from which on a freed run of a slab in use is worth a system call. */
const RUN_WORTH_RELEASING = 16;
/** Empty slabs that stay as address space, without memory behind it. */
const SPARE_SLABS = 4;
const WORDS = SLAB_SLOTS / 32;

class Slab {
  readonly id: number;
  readonly bytes: Buffer;
  /** One bit for each slot, set where it is free. */
  readonly map = new Uint32Array(WORDS).fill(0xffffffff);
  free = SLAB_SLOTS;
  /** No word before this one has a free slot. */
  hint = 0;
  /** Its place in the list of slabs with free slots, -1 where it is full. */
  place = -1;

  constructor(id: number) {
    this.id = id;
    const memory = Buffer.allocUnsafeSlow(SLAB_SIZE + SLOT_SIZE);
    const start = pageOffset(memory, SLOT_SIZE);
    this.bytes = memory.subarray(start, start + SLAB_SIZE);
  }

  /** The lowest free slot, so that what is stored in order lies in order. */
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
    if (word < this.hint) this.hint = word;
    this.free++;
  }
}

export class SlabPool {
  readonly #slabs: (Slab | undefined)[] = [];
  /** Slabs with free slots; the last is used first, so that the others may become empty. */
  readonly #partial: Slab[] = [];
  /** Ids of slabs that were dropped. */
  readonly #vacant: number[] = [];
  #empty = 0;
  #used = 0;

  /** Slots handed out. */
  get used(): number {
    return this.#used;
  }

  /** Bytes of the slabs of which at least one slot is in use. */
  get reserved(): number {
    return (this.#slabs.length - this.#vacant.length - this.#empty) * SLAB_SIZE;
  }

  /** A slot with anything in it. @returns its number, from 0 */
  alloc(): number {
    const slab = this.#partial[this.#partial.length - 1] ?? this.#grow();
    if (slab.free === SLAB_SLOTS) this.#empty--;
    const slot = slab.take();
    if (slab.free === 0) {
      this.#partial.pop();
      slab.place = -1;
    }
    this.#used++;
    return slab.id * SLAB_SLOTS + slot;
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
    if (slab.place < 0) {
      slab.place = this.#partial.length;
      this.#partial.push(slab);
    }
    if (slab.free === SLAB_SLOTS) this.#emptied(slab);
    else if (count >= RUN_WORTH_RELEASING) {
      releasePages(slab.bytes.subarray(start * SLOT_SIZE, (start + count) * SLOT_SIZE));
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

  /** The bytes of one slot. */
  view(slot: number): Buffer {
    const at = this.offset(slot);
    return this.#slabOf(slot).bytes.subarray(at, at + SLOT_SIZE);
  }

  #slabOf(slot: number): Slab {
    const slab = this.#slabs[Math.floor(slot / SLAB_SLOTS)];
    if (slab === undefined) throw new Error(`slab: slot ${slot} is not in use`);
    return slab;
  }

  #grow(): Slab {
    const slab = new Slab(this.#vacant.pop() ?? this.#slabs.length);
    this.#slabs[slab.id] = slab;
    slab.place = this.#partial.length;
    this.#partial.push(slab);
    this.#empty++;
    return slab;
  }

  /** No waiting for the collector: the memory goes back now, the address space when the collector comes by. */
  #emptied(slab: Slab): void {
    releasePages(slab.bytes);
    this.#empty++;
    if (this.#empty <= SPARE_SLABS) return;
    const last = this.#partial.pop();
    if (last !== undefined && last !== slab) {
      this.#partial[slab.place] = last;
      last.place = slab.place;
    }
    this.#slabs[slab.id] = undefined;
    this.#vacant.push(slab.id);
    this.#empty--;
  }
}
