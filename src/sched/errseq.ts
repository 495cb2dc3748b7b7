/** Errors that everybody who has a file open must hear of, each once (lib/errseq.c). */
import type { Errno } from './errno.js';

/** What an open file has seen: a position in the history of errors. */
export type ErrseqCursor = number;

export class Errseq {
  #count = 0;
  #seen = true;
  #error: Errno | undefined;

  /** Record an error (errseq_set). */
  set(error: Errno): void {
    // An error that nobody has looked at since is replaced rather than counted: later samples must still see one.
    if (this.#seen || this.#error?.errno !== error.errno) this.#count++;
    this.#error = error;
    this.#seen = false;
  }

  /** Where a file that is opened now starts (errseq_sample): an error that nobody has seen yet is reported to it too. */
  sample(): ErrseqCursor {
    return this.#seen ? this.#count : this.#count - 1;
  }

  /** The error since `cursor`, if any, without taking note of it (errseq_check). */
  check(cursor: ErrseqCursor): Errno | undefined {
    return cursor === this.#count ? undefined : this.#error;
  }

  /** The error since `cursor`, if any, and the new cursor (errseq_check_and_advance). */
  checkAndAdvance(cursor: ErrseqCursor): { readonly error: Errno | undefined; readonly cursor: ErrseqCursor } {
    const error = this.check(cursor);
    if (error !== undefined) this.#seen = true;
    return { error, cursor: this.#count };
  }
}
