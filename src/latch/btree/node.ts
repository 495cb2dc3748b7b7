/** One node of a B+tree in memory: a view of its bytes, which are the truth. Layout: format/tree.ts. Pure data: no device, no locks. */
import { BLOCK_SIZE, type BufferHead } from '../../block/buffer-head.js';
import { get16, get32, put16, put32 } from '../format/bytes.js';
import { BODY_HEAD, CHILD, SLOT } from '../format/tree.js';

/** What the records of one kind of tree look like. */
export interface TreeFormat {
  /** For messages: 'extents', 'directory' … */
  readonly name: string;
  readonly kind: number;
  /** Bytes of a key; keys are below 2^32 or 2^53. */
  readonly keyBytes: 4 | 8;
  /** The bytes of a leaf record that tell its length. */
  readonly minRecord: number;
  /** Bytes of the longest leaf record: at most half of a node, so that a node which is split once has room for it. */
  readonly maxRecord: number;
  /** Bytes of the leaf record at `at`, its key included. At least `minRecord` bytes are there. */
  sizeOf(data: Buffer, at: number): number;
}

const scratch = Buffer.alloc(BLOCK_SIZE);

export class Node {
  /** Holds the body from `base` on. */
  readonly data: Buffer;
  readonly base: number;
  /** Bytes of the body. */
  readonly size: number;
  readonly format: TreeFormat;
  /** The buffer that it is in, with a reference; undefined for the root. */
  readonly bh: BufferHead | undefined;
  /** Its block was given back: the reference is gone. */
  freed = false;

  constructor(format: TreeFormat, data: Buffer, base: number, size: number, bh?: BufferHead) {
    this.format = format;
    this.data = data;
    this.base = base;
    this.size = size;
    this.bh = bh;
  }

  /** Make it an empty node. */
  init(level: number): void {
    const { data, base } = this;
    data[base] = level;
    data[base + 1] = this.format.kind;
    put16(data, 0, base + 2);
    put16(data, this.size, base + 4);
    put16(data, 0, base + 6);
  }

  get level(): number {
    return this.data[this.base] ?? 0;
  }

  get kind(): number {
    return this.data[this.base + 1] ?? 0;
  }

  get count(): number {
    return get16(this.data, this.base + 2);
  }

  /** Bytes free, slots of what would be added included. */
  get room(): number {
    const { data, base } = this;
    return get16(data, base + 4) + get16(data, base + 6) - BODY_HEAD - SLOT * get16(data, base + 2);
  }

  /** Bytes of records with their slots. */
  get used(): number {
    return this.size - BODY_HEAD - this.room;
  }

  /** Bytes that an inner node's record takes. */
  get innerRecord(): number {
    return this.format.keyBytes + CHILD;
  }

  /** Where record `i` begins in `data`. */
  at(i: number): number {
    return this.base + get16(this.data, this.base + BODY_HEAD + SLOT * i);
  }

  /** The key of the record that begins at `at` in `data`. */
  keyOf(at: number): number {
    const low = get32(this.data, at);
    return this.format.keyBytes === 4 ? low : low + get32(this.data, at + 4) * 0x100000000;
  }

  key(i: number): number {
    return this.keyOf(this.at(i));
  }

  setKey(i: number, key: number): void {
    putKey(this.format, this.data, this.at(i), key);
  }

  /** The block of child `i` of an inner node. */
  child(i: number): number {
    return get32(this.data, this.at(i) + this.format.keyBytes);
  }

  /** Bytes of the record that begins at `at`. */
  sizeAt(at: number): number {
    return this.level > 0 ? this.innerRecord : this.format.sizeOf(this.data, at);
  }

  /** The last record whose key is not above `key`, or -1. */
  search(key: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.key(middle) <= key) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** Put a record of `length` bytes, at `from` of `source`, before record `i`. There must be room. */
  insert(i: number, source: Buffer, from: number, length: number): void {
    const { data, base, count } = this;
    let heap = get16(data, base + 4);
    if (heap - BODY_HEAD - SLOT * count < length + SLOT) {
      this.#compact();
      heap = get16(data, base + 4);
    }
    heap -= length;
    source.copy(data, base + heap, from, from + length);
    const slot = base + BODY_HEAD + SLOT * i;
    data.copyWithin(slot + SLOT, slot, base + BODY_HEAD + SLOT * count);
    put16(data, heap, slot);
    put16(data, count + 1, base + 2);
    put16(data, heap, base + 4);
  }

  /** Take record `i` out. */
  remove(i: number): void {
    const { data, base, count } = this;
    if (count === 1) {
      this.init(this.level);
      return;
    }
    const at = this.at(i);
    const length = this.sizeAt(at);
    const slot = base + BODY_HEAD + SLOT * i;
    data.copyWithin(slot, slot + SLOT, base + BODY_HEAD + SLOT * count);
    put16(data, count - 1, base + 2);
    if (at - base === get16(data, base + 4)) put16(data, at - base + length, base + 4);
    else put16(data, get16(data, base + 6) + length, base + 6);
  }

  /** Take records `from` to the last out. */
  truncate(from: number): void {
    const { data, base, count } = this;
    if (from === 0) {
      this.init(this.level);
      return;
    }
    let bytes = 0;
    for (let i = from; i < count; i++) bytes += this.sizeAt(this.at(i));
    put16(data, from, base + 2);
    put16(data, get16(data, base + 6) + bytes, base + 6);
  }

  /** Copy records `from` to `to` exclusive of a node of the same level behind the last one. There must be room. */
  append(source: Node, from: number, to: number): void {
    for (let i = from; i < to; i++) {
      const at = source.at(i);
      this.insert(this.count, source.data, at, source.sizeAt(at));
    }
  }

  /** Move the records together, so that all free bytes are between slots and records. */
  #compact(): void {
    const { data, base, size, count } = this;
    data.copy(scratch, 0, base, base + size);
    let heap = size;
    for (let i = 0; i < count; i++) {
      const at = this.at(i);
      const length = this.level > 0 ? this.innerRecord : this.format.sizeOf(scratch, at - base);
      heap -= length;
      scratch.copy(data, base + heap, at - base, at - base + length);
      put16(data, heap, base + BODY_HEAD + SLOT * i);
    }
    put16(data, heap, base + 4);
    put16(data, 0, base + 6);
  }

  /** Why it cannot be a node, or undefined: whatever is read from it afterwards lies inside of it. */
  problem(): string | undefined {
    const { data, base, size, format, level } = this;
    if (this.kind !== format.kind) return `a node of kind ${this.kind} in a tree of kind ${format.kind}`;
    const count = this.count;
    const heap = get16(data, base + 4);
    if (BODY_HEAD + SLOT * count > heap || heap > size) return 'slots and records overlap';
    const minimum = level > 0 ? this.innerRecord : format.minRecord;
    let bytes = 0;
    let last = -1;
    for (let i = 0; i < count; i++) {
      const at = this.at(i);
      if (at - base < heap || at - base + minimum > size) return `record ${i} lies outside`;
      const length = this.sizeAt(at);
      if (length < minimum || at - base + length > size) return `record ${i} is too long`;
      const key = this.keyOf(at);
      if (key <= last) return `record ${i} is out of order`;
      if (key > Number.MAX_SAFE_INTEGER) return `record ${i} has no possible key`;
      last = key;
      bytes += length;
    }
    if (bytes + get16(data, base + 6) !== size - heap) return 'its records do not add up';
    return undefined;
  }
}

/** Write a key where a record has it. */
export function putKey(format: TreeFormat, data: Buffer, at: number, key: number): void {
  put32(data, key >>> 0, at);
  if (format.keyBytes === 8) put32(data, Math.floor(key / 0x100000000), at + 4);
}

/** The record by which an inner node knows a child. */
export function innerRecord(format: TreeFormat, key: number, block: number): Buffer {
  const record = Buffer.allocUnsafe(format.keyBytes + CHILD);
  putKey(format, record, 0, key);
  put32(record, block, format.keyBytes);
  return record;
}
