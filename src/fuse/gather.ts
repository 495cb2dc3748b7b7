// A list of memory ranges for writev(2): reply data are sent from where they lie. Slot 0 is the reply's header and struct. A single small
// range is copied behind the header instead, because one write(2) of that is faster than a writev(2) of two.

import { addressOf } from './libc.js';
import { LITTLE_ENDIAN } from './protocol/message.js';
import type { Out } from './protocol/out.js';

const LOW = LITTLE_ENDIAN ? 0 : 1;
const HIGH = 1 - LOW;
const TWO_32 = 4294967296;
/** UIO_MAXIOV, the kernel's limit. */
const MAX = 1024;
/** Bytes up to which a single range is copied. */
const COPY_MAX = 8192;

export class Gather {
  readonly #words = new Uint32Array(new ArrayBuffer(16 * MAX));
  readonly #address = addressOf(new Uint8Array(this.#words.buffer));
  /** The ranges in slots: also so that no buffer is collected before it is sent. */
  readonly #held: [bytes: Uint8Array, start: number, length: number][] = [];
  /** Slots filled, slot 0 included. */
  #count = 1;
  /** Where the last range ends in memory. */
  #end = 0;
  #size = 0;
  /** The first range, not yet in a slot, and where it starts. */
  #first: Uint8Array | undefined;
  #start = 0;

  /** Bytes of data in the list. */
  get size(): number {
    return this.#size;
  }

  clear(): void {
    this.#count = 1;
    this.#size = 0;
    this.#end = 0;
    this.#first = undefined;
    this.#held.length = 0;
  }

  /**
   * Appends `length` bytes of `bytes` from `start`. A range that continues the last one in memory lengthens it. The bytes must not
   * change until the reply is sent.
   * @throws RangeError beyond 1,023 ranges, or when the range is not inside `bytes`
   */
  add(bytes: Uint8Array, start: number, length: number): void {
    if (start < 0 || length < 0 || start + length > bytes.length) throw new RangeError('range outside its buffer');
    if (length === 0) return;
    if (this.#size === 0) {
      this.#first = bytes;
      this.#start = start;
    } else {
      this.#slotFirst();
      this.#slot(bytes, start, length);
    }
    this.#size += length;
  }

  /** Copies the data into `out` at byte `at` when that is the faster way, and empties the list. @returns whether it did */
  copyTo(out: Out, at: number): boolean {
    const first = this.#first;
    if (first === undefined || this.#size > COPY_MAX) return false;
    Buffer.prototype.copy.call(first, out.bytes, at, this.#start, this.#start + this.#size);
    this.clear();
    return true;
  }

  /**
   * Finishes the list with slot 0: `length` bytes at `address`.
   * @returns the number of slots; the struct iovec array is at `iovecs`
   */
  finish(address: number, length: number): number {
    this.#slotFirst();
    this.#set(0, address, length);
    return this.#count;
  }

  get iovecs(): number {
    return this.#address;
  }

  /** Copies all data into `target` at byte `at`. */
  copyAll(target: Uint8Array, at: number): void {
    this.#slotFirst();
    let to = at;
    for (const [bytes, start, length] of this.#held) {
      target.set(bytes.subarray(start, start + length), to);
      to += length;
    }
  }

  #slotFirst(): void {
    const first = this.#first;
    if (first === undefined) return;
    this.#first = undefined;
    this.#slot(first, this.#start, this.#size);
  }

  #slot(bytes: Uint8Array, start: number, length: number): void {
    const address = addressOf(bytes) + start;
    if (address === this.#end) {
      const word = 4 * (this.#count - 1) + 2 + LOW;
      this.#words[word] = (this.#words[word] ?? 0) + length;
    } else {
      if (this.#count === MAX) throw new RangeError(`more than ${MAX - 1} ranges in one reply`);
      this.#set(this.#count++, address, length);
    }
    this.#held.push([bytes, start, length]);
    this.#end = address + length;
  }

  #set(slot: number, address: number, length: number): void {
    const words = this.#words;
    const low = address >>> 0;
    const word = 4 * slot;
    words[word + LOW] = low;
    words[word + HIGH] = (address - low) / TWO_32;
    words[word + 2 + LOW] = length;
    words[word + 2 + HIGH] = 0;
  }
}
