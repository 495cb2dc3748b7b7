// A list of memory ranges for writev(2): reply data are sent from where they lie. Slot 0 is the reply's header and struct.

import { addressOf } from './native.js';
import { LITTLE_ENDIAN } from './protocol/message.js';

const LOW = LITTLE_ENDIAN ? 0 : 1;
const HIGH = 1 - LOW;
const TWO_32 = 4294967296;
/** UIO_MAXIOV, the kernel's limit. */
const MAX = 1024;

export class Gather {
  readonly #words = new Uint32Array(new ArrayBuffer(16 * MAX));
  readonly #address = addressOf(new Uint8Array(this.#words.buffer));
  /** The buffers named in the list, so that none is collected before it is sent. */
  readonly #held: Uint8Array[] = [];
  #count = 1;
  #end = 0;
  #bytes = 0;

  /** Bytes of data in the list. */
  get size(): number {
    return this.#bytes;
  }

  /** Ranges in the list, slot 0 included. */
  get count(): number {
    return this.#count;
  }

  /** Where the struct iovec array lies. */
  get address(): number {
    return this.#address;
  }

  clear(): void {
    this.#count = 1;
    this.#bytes = 0;
    this.#end = 0;
    this.#held.length = 0;
  }

  /**
   * Appends `length` bytes of `bytes` from `start`. A range that continues the last one in memory lengthens it.
   * @throws RangeError beyond 1,023 ranges, or when the range is not inside `bytes`
   */
  add(bytes: Uint8Array, start: number, length: number): void {
    if (start < 0 || length < 0 || start + length > bytes.length) throw new RangeError('range outside its buffer');
    if (length === 0) return;
    const address = addressOf(bytes) + start;
    const words = this.#words;
    this.#bytes += length;
    if (address === this.#end) {
      const word = 4 * (this.#count - 1) + 2 + LOW;
      words[word] = (words[word] ?? 0) + length;
      this.#end += length;
      this.#held.push(bytes);
      return;
    }
    if (this.#count === MAX) throw new RangeError(`more than ${MAX - 1} ranges in one reply`);
    this.#held.push(bytes);
    this.#set(this.#count++, address, length);
    this.#end = address + length;
  }

  /** Sets slot 0. */
  head(address: number, length: number): void {
    this.#set(0, address, length);
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
