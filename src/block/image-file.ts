/**
 * The bytes of an image: plain system calls into the host's page cache; a flush waits for the disk on libuv's pool. A file that somebody cuts off
 * under its mount is as good as gone: what is missing would read as zeroes once something is written behind it. It is looked for where it costs nothing: where a read ends early, at the first
 * write after a flush, at one that would bring the file to its old length again, and after a flush.
 */
import { fdatasync, fstatSync, readSync, readvSync, writeSync, writevSync } from 'node:fs';
import { Mutex as AsyncMutex } from 'async-mutex';
import { asErrno, type Errno, errno, isErrno } from '../sched/errno.js';
import { punchHole, zeroRange } from './libc.js';
import type { Driver } from './request-queue.js';

/** The most vectors that one system call takes. */
const IOV_MAX = 1024;
const ZEROES = 1 << 20;

/** Bytes of the smallest hole, on most filesystems. */
const HOLE = 4096;

export class ImageFile implements Driver {
  #fd: number;
  /** Bytes that it has as long as nobody cuts it off; undefined for a block device, which its driver looks after. */
  #size: number | undefined;
  /** It was cut off, so that every request fails: what lies before the cut may have been cut off and grown again before that was noticed. */
  #lost: Errno | undefined;
  /** Its length was looked at since the last flush. */
  #looked = false;
  /** A flush has failed. */
  #unstable: Errno | undefined;
  /** Called when it is found to be cut off, and when a flush has failed. */
  gone: ((reason: Errno) => void) | undefined;
  /** One flush at a time; those that come meanwhile share the next one. */
  readonly #flushing = new AsyncMutex();
  #next: Promise<void> | undefined;
  /** What the host's filesystem can do; found out by trying. */
  readonly #can = { punch: true, zero: true };
  #asked = false;

  /** @param size bytes of a file, undefined for a block device */
  constructor(fd: number, size: number | undefined) {
    this.#fd = fd;
    this.#size = size;
  }

  /** Use another descriptor of it from now on: one that nobody else can have. */
  through(fd: number): void {
    this.#fd = fd;
  }

  /** The file has grown, and is used as a whole. */
  grown(size: number): void {
    if (this.#size !== undefined) this.#size = size;
  }

  #forgets(error: Error): Errno {
    const reason = asErrno(error);
    if (this.#unstable === undefined) {
      this.#unstable = reason;
      this.gone?.(reason);
    }
    return reason;
  }

  /** It was found to end before byte `position`. */
  #endsBefore(position: number): Errno {
    const { size } = fstatSync(this.#fd);
    if (this.#size === undefined || size >= this.#size) return errno('EIO', `the image ends before byte ${position}`);
    if (this.#lost === undefined) {
      this.#lost = errno('EIO', `the image was cut off at byte ${size} of ${this.#size}`);
      this.gone?.(this.#lost);
    }
    return this.#lost;
  }

  /** @throws EIO where it was cut off */
  #look(): void {
    this.#looked = true;
    if (this.#size !== undefined && fstatSync(this.#fd).size < this.#size) throw this.#endsBefore(this.#size);
  }

  /** Something is about to be written up to byte `end`. @throws EIO where it was cut off */
  #before(end: number): void {
    if (this.#lost !== undefined) throw this.#lost;
    if (!this.#looked || end === this.#size) this.#look();
  }

  read(offset: number, into: Buffer): void {
    if (this.#lost !== undefined) throw this.#lost;
    for (let done = 0; done < into.length; ) {
      const count = readSync(this.#fd, into, done, into.length - done, offset + done);
      if (count === 0) throw this.#endsBefore(offset + done + 1);
      done += count;
    }
  }

  write(offset: number, from: Buffer): void {
    this.#before(offset + from.length);
    for (let done = 0; done < from.length; ) {
      const count = writeSync(this.#fd, from, done, from.length - done, offset + done);
      if (count === 0) throw errno('EIO', `nothing can be written at byte ${offset + done} of the image`);
      done += count;
    }
  }

  readv(offset: number, into: readonly Buffer[]): void {
    const [only] = into;
    if (this.#lost !== undefined) throw this.#lost;
    if (into.length === 1 && only !== undefined) this.read(offset, only);
    else this.#each(offset, into, (position, batch) => readvSync(this.#fd, batch, position));
  }

  writev(offset: number, from: readonly Buffer[]): void {
    const [only] = from;
    if (from.length === 1 && only !== undefined) this.write(offset, only);
    else {
      this.#before(offset + from.reduce((sum, { length }) => sum + length, 0));
      this.#each(offset, from, (position, batch) => writevSync(this.#fd, batch, position));
    }
  }

  /** Call `io` until all vectors are done, a short count being continued where it ended; a count of 0 is EIO. */
  #each(offset: number, vecs: readonly Buffer[], io: (position: number, batch: Buffer[]) => number): void {
    let position = offset;
    for (let next = 0; next < vecs.length; next += IOV_MAX) {
      let batch = vecs.slice(next, next + IOV_MAX);
      while (batch.length > 0) {
        const count = io(position, batch);
        if (count === 0) throw this.#endsBefore(position + 1);
        position += count;
        batch = rest(batch, count);
      }
    }
  }

  /** Of a file that can be written: whether its filesystem makes holes is asked behind the end, where there is nothing to lose. */
  get discard_granularity(): number {
    const stat = this.#asked ? undefined : fstatSync(this.#fd);
    this.#asked = true;
    if (stat?.isFile() === true) this.#try('punch', () => punchHole(this.#fd, stat.size, HOLE));
    return this.#can.punch ? HOLE : 0;
  }

  discard(offset: number, length: number): void {
    this.#before(offset + length);
    if (!this.#try('punch', () => punchHole(this.#fd, offset, length))) this.zero(offset, length);
  }

  zero(offset: number, length: number): void {
    this.#before(offset + length);
    if (this.#try('punch', () => punchHole(this.#fd, offset, length))) return;
    if (this.#try('zero', () => zeroRange(this.#fd, offset, length))) return;
    const zeroes = Buffer.alloc(Math.min(length, ZEROES));
    for (let done = 0; done < length; done += zeroes.length) {
      this.write(offset + done, zeroes.subarray(0, Math.min(zeroes.length, length - done)));
    }
  }

  /** @returns false where the host cannot do it, which is remembered, or not now */
  #try(ability: 'punch' | 'zero', attempt: () => void): boolean {
    if (!this.#can[ability]) return false;
    try {
      attempt();
      return true;
    } catch (error) {
      // Of a disk that is mounted, pages that are dirty still.
      if (isErrno(error, 'EBUSY')) return false;
      if (!isErrno(error, 'EOPNOTSUPP') && !isErrno(error, 'EINVAL') && !isErrno(error, 'ENOSYS')) throw error;
      this.#can[ability] = false;
      return false;
    }
  }

  /**
   * Make stable what was written. Where that fails once it fails for ever: the host has forgotten what it could not write, tells nobody a second time, and
   * the next one to flush would be told that all is well.
   */
  async flush(): Promise<void> {
    if (this.#unstable !== undefined) throw this.#unstable;
    this.#next ??= this.#flushing.runExclusive(() => {
      this.#next = undefined;
      return new Promise<void>((resolve, reject) => {
        fdatasync(this.#fd, (error) => (error === null ? resolve() : reject(this.#forgets(error))));
      });
    });
    await this.#next;
    if (this.#unstable !== undefined) throw this.#unstable;
    if (this.#lost !== undefined) throw this.#lost;
    this.#look();
    this.#looked = false;
  }
}

/** What is left of vectors after `count` bytes. */
function rest(vecs: Buffer[], count: number): Buffer[] {
  let left = count;
  for (let i = 0; i < vecs.length; i++) {
    const vec = vecs[i];
    if (vec === undefined) break;
    if (left < vec.length) return [vec.subarray(left), ...vecs.slice(i + 1)];
    left -= vec.length;
  }
  return [];
}
