/** Where log records go: a file, or standard error. What logs must go on when its log cannot: a record that cannot be written is counted, and nothing else happens. */
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { resolve } from 'node:path';
import { isatty } from 'node:tty';

const STDERR = 2;
/** Milliseconds between two attempts at a pipe or terminal that takes nothing for now, and how many there are. */
const PAUSE = 5;
const ATTEMPTS = 20;

/** @throws Error of open(2), ENXIO for a pipe from which nobody reads, which would otherwise be waited for */
function open(path: string): number {
  const { O_APPEND, O_CREAT, O_NONBLOCK, O_WRONLY } = constants;
  return openSync(path, O_APPEND | O_CREAT | O_NONBLOCK | O_WRONLY, 0o644);
}

export class LogFile {
  /** People read it. */
  readonly terminal: boolean;
  readonly #path: string | undefined;
  #fd: number;
  /** Records that could not be written since the last one that could. */
  #lost = 0;

  /**
   * @param path appended to; standard error where there is none
   * @throws Error of open(2)
   */
  constructor(path?: string) {
    // A daemon leaves the directory in which it was started.
    this.#path = path === undefined ? undefined : resolve(path);
    this.#fd = this.#path === undefined ? STDERR : open(this.#path);
    this.terminal = path === undefined && isatty(this.#fd);
  }

  /** Write one record, synchronously: it must be there when the process dies next. */
  write(line: string): void {
    try {
      if (this.#lost > 0)
        this.#writeAll(`{"level":40,"lost":${this.#lost},"msg":"${this.#lost} records could not be written here"}\n`);
      this.#lost = 0;
      this.#writeAll(line);
    } catch {
      this.#lost++;
    }
  }

  /** Open the path anew: somebody has moved the file away. Where it cannot be opened, the old file goes on. */
  reopen(): void {
    if (this.#path === undefined) return;
    let fd: number;
    try {
      fd = open(this.#path);
    } catch {
      return;
    }
    closeSync(this.#fd);
    this.#fd = fd;
  }

  #writeAll(line: string): void {
    const bytes = Buffer.from(line);
    for (let done = 0, attempts = 0; done < bytes.length; ) {
      try {
        done += writeSync(this.#fd, bytes, done);
      } catch (error) {
        const full = error instanceof Error && 'code' in error && error.code === 'EAGAIN';
        if (!full || ++attempts > ATTEMPTS) throw error;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE);
      }
    }
  }
}
