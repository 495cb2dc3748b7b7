// Where replies are written: one buffer, header first, reused for every reply (encode, then send, before anything else runs).

import { LITTLE_ENDIAN, OUT_HEADER, type U64 } from './message.js';

const LOW = LITTLE_ENDIAN ? 0 : 1;
const HIGH = 1 - LOW;
const TWO_32 = 4294967296;

export class Out {
  readonly bytes: Buffer;
  readonly u32: Uint32Array;

  /** @param capacity bytes, the header's 16 included */
  constructor(capacity: number) {
    const size = (capacity + 7) & ~7;
    this.bytes = Buffer.allocUnsafeSlow(size);
    this.u32 = new Uint32Array(this.bytes.buffer, this.bytes.byteOffset, size >>> 2);
  }

  /** Bytes that fit after the header. */
  get room(): number {
    return this.bytes.length - OUT_HEADER;
  }

  /** struct fuse_out_header. @param size bytes after it @param error negative errno, or a notification's code */
  header(unique: U64, error: number, size: number): void {
    const { u32 } = this;
    u32[0] = OUT_HEADER + size;
    u32[1] = error;
    this.exact64(8, unique);
  }

  /** A uint32 at a byte offset (a multiple of 4). */
  put32(at: number, value: number): void {
    this.u32[at >>> 2] = value;
  }

  /** Two uint16 in the order of the struct. */
  put16x2(at: number, first: number, second: number): void {
    this.u32[at >>> 2] = LITTLE_ENDIAN ? first | (second << 16) : (first << 16) | second;
  }

  /** An integer of at most 53 bits and any sign as a 64-bit field. */
  put64(at: number, value: number): void {
    const low = value >>> 0;
    const word = at >>> 2;
    this.u32[word + LOW] = low;
    this.u32[word + HIGH] = (value - low) / TWO_32;
  }

  exact64(at: number, value: U64): void {
    if (typeof value === 'number') {
      this.put64(at, value);
      return;
    }
    const word = at >>> 2;
    this.u32[word + LOW] = Number(value & 0xffffffffn);
    this.u32[word + HIGH] = Number((value >> 32n) & 0xffffffffn);
  }

  /** A loff_t where 2^53-1 stands for the largest there is. */
  putEnd(at: number, value: number): void {
    if (value < Number.MAX_SAFE_INTEGER) this.put64(at, value);
    else {
      const word = at >>> 2;
      this.u32[word + LOW] = 0xffffffff;
      this.u32[word + HIGH] = 0x7fffffff;
    }
  }

  /** Zeroes a range of whole words. */
  zero(at: number, size: number): void {
    this.u32.fill(0, at >>> 2, (at + size) >>> 2);
  }

  /** A latin1 string. @returns the bytes written */
  string(at: number, value: string): number {
    return this.bytes.write(value, at, value.length, 'latin1');
  }
}
