/**
 * A device in an image file or on a block device. Reads and writes are plain system calls into the host's page cache; a flush waits for
 * the disk on libuv's pool. The image is locked against every other mount.
 */
import { closeSync, constants, fdatasync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { Mutex as AsyncMutex } from 'async-mutex';
import koffi from 'koffi';
import { errno } from '../sched/errno.js';
import type { Scheduler } from '../sched/scheduler.js';
import type { Validator } from '../sched/validator.js';
import { BlockDevice } from './block-device.js';
import type { Driver } from './request-queue.js';

const LOCK_EX = 2;
const LOCK_NB = 4;
const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;

const libc = koffi.load(null);
const flock = libc.func('int flock(int, int)');
const fallocate = libc.func('int fallocate(int, int, int64_t, int64_t)');
const BLKGETSIZE64 = 0x80081272;
const ioctl = libc.func('int ioctl(int, unsigned long, void *)');

/** An image that cannot be used: one line that names it, and the remedy. */
export class ImageError extends Error {}

function open(path: string, readOnly: boolean): number {
  try {
    return openSync(path, readOnly ? constants.O_RDONLY : constants.O_RDWR);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    if (code === 'ENOENT')
      throw new ImageError(`${path}: there is no such image; make one with: latchfs mkfs ${path} --size 1G`);
    if (code === 'EISDIR') throw new ImageError(`${path} is a directory, not an image`);
    if (code === 'EACCES' || code === 'EPERM') {
      throw new ImageError(
        `${path}: no permission to ${readOnly ? 'read' : 'write'} it${readOnly ? '' : '; mount it with -o ro to read it'}`,
      );
    }
    if (code === 'EROFS') throw new ImageError(`${path} is on a read-only filesystem; mount it with -o ro`);
    throw new ImageError(`${path} cannot be opened: ${code}`);
  }
}

function sizeOf(fd: number, path: string): number {
  const stat = fstatSync(fd);
  if (stat.isFile()) return stat.size;
  if (!stat.isBlockDevice()) throw new ImageError(`${path} is neither a file nor a block device`);
  const size = Buffer.alloc(8);
  if (ioctl(fd, BLKGETSIZE64, size) !== 0) throw new ImageError(`${path}: its size cannot be found out`);
  return Number(size.readBigUInt64LE());
}

class ImageFile implements Driver {
  readonly #fd: number;
  /** One flush at a time; those that come meanwhile share the next one. */
  readonly #flushing = new AsyncMutex();
  #next: Promise<void> | undefined;

  constructor(fd: number) {
    this.#fd = fd;
  }

  read(offset: number, into: Buffer): void {
    for (let done = 0; done < into.length; ) {
      const got = readSync(this.#fd, into, done, into.length - done, offset + done);
      if (got === 0) throw errno('EIO', `the image ends at byte ${offset + done}`);
      done += got;
    }
  }

  write(offset: number, from: Buffer): void {
    for (let done = 0; done < from.length; ) {
      done += writeSync(this.#fd, from, done, from.length - done, offset + done);
    }
  }

  discard(offset: number, length: number): void {
    if (length > 0 && fallocate(this.#fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length) !== 0) {
      this.zero(offset, length);
    }
  }

  zero(offset: number, length: number): void {
    const zeroes = Buffer.alloc(Math.min(length, 1 << 20));
    for (let done = 0; done < length; done += zeroes.length) {
      this.write(offset + done, zeroes.subarray(0, Math.min(zeroes.length, length - done)));
    }
  }

  flush(): Promise<void> {
    this.#next ??= this.#flushing.runExclusive(() => {
      this.#next = undefined;
      return new Promise<void>((resolve, reject) => {
        fdatasync(this.#fd, (error) => (error === null ? resolve() : reject(error)));
      });
    });
    return this.#next;
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/**
 * Open an image. It stays locked until the device is released or the process ends.
 * @throws ImageError: missing, a directory, no permission, in use by another process
 */
export function imageDevice(path: string, readOnly: boolean, sched: Scheduler, validator: Validator): BlockDevice {
  const fd = open(path, readOnly);
  try {
    const size = sizeOf(fd, path);
    if (flock(fd, LOCK_EX | LOCK_NB) !== 0) {
      throw new ImageError(`${path} is in use: another latchfs has it mounted; unmount that one first`);
    }
    const file = new ImageFile(fd);
    const ops = { release: () => file.close() };
    return new BlockDevice({ name: path, size, readOnly }, file, ops, sched, validator);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}
