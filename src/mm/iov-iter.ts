/** iov_iter: where bytes come from or go to, without saying who holds them. */
import { type Folio, folio_get, folio_put } from './folio.js';

/**
 * The bytes of a write, or the room for those of a read. A read iterator keeps references to the folios it was given rather than copying
 * their bytes; whoever sends them releases them afterwards.
 */
export class IovIter {
  /** For a write: the bytes. */
  readonly source: Buffer | undefined;
  /** For a read: what was collected, in order. */
  readonly segments: Buffer[] = [];
  /** Folios whose bytes are among the segments; each holds a reference for us. */
  readonly folios: Folio[] = [];
  /** Bytes left to transfer. */
  count: number;
  #at = 0;
  /** The memory in which `source` lies: asked for once. */
  #memory: ArrayBufferLike | undefined;

  private constructor(source: Buffer | undefined, count: number) {
    this.source = source;
    this.count = count;
  }

  /** The bytes of a write (ITER_SOURCE). The buffer must stay as it is until the write has returned. */
  static ofSource(source: Buffer): IovIter {
    return new IovIter(source, source.length);
  }

  /** Room for `count` bytes of a read (ITER_DEST). */
  static ofDest(count: number): IovIter {
    return new IovIter(undefined, count);
  }

  /** Copy up to `length` bytes of a write to `dest` at `offset`, where there must be room for them (copy_from_iter). @returns bytes copied. */
  copy_from_iter(dest: Buffer, offset: number, length: number): number {
    const n = Math.min(length, this.count);
    const { source } = this;
    if (source !== undefined) {
      // Buffer.copy makes such a view, too, but needs twice as long to find out that it must.
      this.#memory ??= source.buffer;
      dest.set(n === source.length ? source : new Uint8Array(this.#memory, source.byteOffset + this.#at, n), offset);
    }
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
    return this.source?.subarray(from, from + n) ?? Buffer.alloc(0);
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

  /** The bytes of a read were sent, or nobody wants them: drop the references to the folios. */
  release(): void {
    for (const folio of this.folios) folio_put(folio);
    this.folios.length = 0;
    this.segments.length = 0;
  }
}
