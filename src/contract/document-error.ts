/** A locking document that cannot be read: where, and what is wrong there. */
export class DocumentError extends Error {
  /** Counted from 1. */
  readonly line: number;

  constructor(line: number, message: string) {
    super(message);
    this.name = 'DocumentError';
    this.line = line;
  }
}
