/** iov_iter: where bytes come from or go to, without saying who holds them. */
import { type Folio, folio_get, folio_put, PAGE_SIZE } from './folio.js';

/** Bytes for writes in memory that is used again and again, such as the buffer of requests: a view of each page of them is made only once. */
export class SourceMemory {
  readonly bytes: Buffer;
  /** Where in `bytes` those of a write begin. */
  readonly start: number;
  readonly #memory: ArrayBufferLike;
  readonly #pages: (Uint8Array | undefined)[] = [];

  constructor(bytes: Buffer, start: number) {
    this.bytes = bytes;
    this.start = start;
    this.#memory = bytes.buffer;
  }

  /** `length` bytes from `at` on, counted from the start. */
  view(at: number, length: number): Uint8Array {
    if (length !== PAGE_SIZE || (at & (PAGE_SIZE - 1)) !== 0) return this.#make(at, length);
    const index = at / PAGE_SIZE;
    let page = this.#pages[index];
    if (page === undefined) {
      page = this.#make(at, length);
      this.#pages[index] = page;
    }
    return page;
  }

  /** Buffer.copy makes such a view, too, but needs twice as long to find out that it must. */
  #make(at: number, length: number): Uint8Array {
    return new Uint8Array(this.#memory, this.bytes.byteOffset + this.start + at, length);
  }
}

const NO_SEGMENTS: Buffer[] = [];
const NO_FOLIOS: Folio[] = [];

/**
 * The bytes of a write, or the room for those of a read. A read iterator keeps references to the folios it was given rather than copying
 * their bytes; whoever sends them releases them afterwards.
 */
export class IovIter {
  /** For a write: the bytes. */
  readonly #source: SourceMemory | undefined;
  /** For a read: what was collected, in order. */
  readonly segments: Buffer[];
  /** Folios whose bytes are among the segments; each holds a reference for us. */
  readonly folios: Folio[];
  /** Bytes left to transfer. */
  count: number;
  #at = 0;

  private constructor(source: SourceMemory | undefined, count: number) {
    this.#source = source;
    this.segments = source === undefined ? [] : NO_SEGMENTS;
    this.folios = source === undefined ? [] : NO_FOLIOS;
    this.count = count;
  }

  /** The bytes of a write (ITER_SOURCE). The buffer must stay as it is until the write has returned. */
  static ofSource(source: Buffer): IovIter {
    return new IovIter(new SourceMemory(source, 0), source.length);
  }

  /** As ofSource: the first `length` bytes of a write that lie in `memory`. */
  static ofMemory(memory: SourceMemory, length: number): IovIter {
    return new IovIter(memory, length);
  }

  /** Room for `count` bytes of a read (ITER_DEST). */
  static ofDest(count: number): IovIter {
    return new IovIter(undefined, count);
  }

  /** For a write: its bytes, those that were transferred included; undefined for a read. */
  get source(): Buffer | undefined {
    if (this.#source === undefined) return undefined;
    const { bytes, start } = this.#source;
    return bytes.subarray(start, start + this.#at + this.count);
  }

  /** Copy up to `length` bytes of a write to `dest` at `offset`, where there must be room for them (copy_from_iter). @returns bytes copied. */
  copy_from_iter(dest: Buffer, offset: number, length: number): number {
    const n = Math.min(length, this.count);
    if (this.#source !== undefined) dest.set(this.#source.view(this.#at, n), offset);
    this.#at += n;
    this.count -= n;
    return n;
  }

  /** The next `length` bytes of a write, not copied. */
  take(length: number): Buffer {
    const n = Math.min(length, this.count);
    const from = this.#at;
    this.#at += n;
    this.count -= n;
    if (this.#source === undefined) return Buffer.alloc(0);
    const { bytes, start } = this.#source;
    return bytes.subarray(start + from, start + from + n);
  }

  /** Transfer no more than `limit` bytes (iov_iter_truncate). */
  truncate(limit: number): void {
    if (this.count > limit) this.count = limit;
  }

  /** Give back the last `bytes` of a write that did not go through (iov_iter_revert). */
  revert(bytes: number): void {
    this.#at -= bytes;
    this.count += bytes;
  }

  /** Add bytes of a folio to a read, by reference (copy_folio_to_iter). Takes a reference to the folio. */
  addFolio(folio: Folio, offset: number, length: number): number {
    const n = Math.min(length, this.count);
    if (n === 0) return 0;
    folio_get(folio);
    this.folios.push(folio);
    this.segments.push(n === folio.data.length ? folio.data : folio.data.subarray(offset, offset + n));
    this.count -= n;
    return n;
  }

  /** Add bytes to a read that belong to nobody else from now on (copy_to_iter). */
  addBytes(bytes: Buffer): number {
    const n = Math.min(bytes.length, this.count);
    if (n > 0) this.segments.push(n === bytes.length ? bytes : bytes.subarray(0, n));
    this.count -= n;
    return n;
  }

  /** Keep copies of what a read has collected instead of its folios: they may be reclaimed while it goes on. */
  detach(): void {
    if (this.folios.length === 0) return;
    const copy = Buffer.concat(this.segments);
    this.release();
    this.segments.push(copy);
  }

  /** The bytes of a read were sent, or nobody wants them: drop the references to the folios. */
  release(): void {
    for (const folio of this.folios) folio_put(folio);
    this.folios.length = 0;
    this.segments.length = 0;
  }
}
