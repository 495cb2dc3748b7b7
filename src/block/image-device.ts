/**
 * A device in an image file or on a block device. Reads and writes are plain system calls into the host's page cache; a flush waits for
 * the disk on libuv's pool. The image is locked against every other mount.
 */
import {
  closeSync,
  constants,
  fdatasync,
  fstatSync,
  openSync,
  readSync,
  readvSync,
  writeSync,
  writevSync,
} from 'node:fs';
import { Mutex as AsyncMutex } from 'async-mutex';
import { Errno, errno, isErrno } from '../sched/errno.js';
import type { Scheduler } from '../sched/scheduler.js';
import type { Task } from '../sched/task.js';
import type { Validator } from '../sched/validator.js';
import { WaitQueue } from '../sched/wait.js';
import { SECTOR_SIZE } from './bio.js';
import { BlockDevice, type Geometry, type OpenMode } from './block-device.js';
import { describeHolder, mountOf } from './image-holder.js';
import { punchHole, sizeOfBlockDevice, tryLockFile, zeroRange } from './libc.js';
import type { Driver } from './request-queue.js';

/** The most vectors that one system call takes. */
const IOV_MAX = 1024;
const ZEROES = 1 << 20;
/** Milliseconds for which an image that is locked, but mounted nowhere, is waited for: its daemon is writing its last bytes. */
const PATIENCE = 10_000;
const LOOK_AGAIN = 20;

const GEO_HEADS = 64;
const GEO_SECTORS = 32;
/** LOOP_GET_STATUS64: which file is behind a loop device, which an image is much like. */
export const LOOP_GET_STATUS64 = 0x4c05;
const LOOP_INFO_SIZE = 232;
const LO_FLAGS_READ_ONLY = 1;
const LO_FLAGS_AT = 52;
const LO_FILE_NAME_AT = 56;
const LO_NAME_SIZE = 64;

/** An image that cannot be used: one line that names it, and the remedy. */
export class ImageError extends Error {}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}

/** struct loop_info64: device and inode of the image, its size, its flags, its name. @throws ENOTTY for another command */
function loopStatus(fd: number, path: string, bdev: BlockDevice, cmd: number): Buffer {
  if (cmd !== LOOP_GET_STATUS64) throw errno('ENOTTY');
  const info = Buffer.alloc(LOOP_INFO_SIZE);
  const stat = fstatSync(fd, { bigint: true });
  info.writeBigUInt64LE(stat.dev, 0);
  info.writeBigUInt64LE(stat.ino, 8);
  info.writeBigUInt64LE(BigInt(bdev.size), 32);
  info.writeUInt32LE(bdev.read_only ? LO_FLAGS_READ_ONLY : 0, LO_FLAGS_AT);
  info.write(path.slice(0, LO_NAME_SIZE - 1), LO_FILE_NAME_AT, 'latin1');
  return info;
}

function open(path: string, readOnly: boolean): number {
  try {
    return openSync(path, readOnly ? constants.O_RDONLY : constants.O_RDWR);
  } catch (error) {
    throw new ImageError(explain(codeOf(error), path, readOnly));
  }
}

function explain(code: string, path: string, readOnly: boolean): string {
  switch (code) {
    case 'ENOENT':
      return `${path}: there is no such image; make one with: latchfs mkfs ${path} --size 1G`;
    case 'ENOTDIR':
      return `${path}: there is no such image, because a part of its path is not a directory`;
    case 'EISDIR':
      return `${path} is a directory, not an image`;
    case 'EACCES':
    case 'EPERM':
      return `${path}: no permission to ${readOnly ? 'read it' : 'write it; mount it with -o ro to read it'}`;
    case 'EROFS':
      return `${path} is on a read-only filesystem; mount it with -o ro`;
    case 'ETXTBSY':
      return `${path} is being executed or swapped to: it cannot be written`;
    case 'EBUSY':
      return `${path} is in use by the kernel: unmount it first`;
    default:
      return `${path} cannot be opened: ${code}`;
  }
}

/** Bytes of an open image, whole sectors. */
function sizeOf(fd: number, path: string): number {
  const stat = fstatSync(fd);
  if (stat.isFile()) return stat.size - (stat.size % SECTOR_SIZE);
  if (stat.isDirectory()) throw new ImageError(`${path} is a directory, not an image`);
  if (!stat.isBlockDevice()) throw new ImageError(`${path} is neither a file nor a block device`);
  return sizeOfBlockDevice(fd);
}

/** Bytes of the smallest hole, on most filesystems. */
const HOLE = 4096;

class ImageFile implements Driver {
  readonly #fd: number;
  /** One flush at a time; those that come meanwhile share the next one. */
  readonly #flushing = new AsyncMutex();
  #next: Promise<void> | undefined;
  /** What the host's filesystem can do; found out by trying. */
  readonly #can = { punch: true, zero: true };
  #asked = false;

  constructor(fd: number) {
    this.#fd = fd;
  }

  read(offset: number, into: Buffer): void {
    for (let done = 0; done < into.length; ) {
      const count = readSync(this.#fd, into, done, into.length - done, offset + done);
      if (count === 0) throw endsAt(offset + done);
      done += count;
    }
  }

  write(offset: number, from: Buffer): void {
    for (let done = 0; done < from.length; ) {
      const count = writeSync(this.#fd, from, done, from.length - done, offset + done);
      if (count === 0) throw endsAt(offset + done);
      done += count;
    }
  }

  readv(offset: number, into: readonly Buffer[]): void {
    const [only] = into;
    if (into.length === 1 && only !== undefined) this.read(offset, only);
    else this.#each(offset, into, (position, batch) => readvSync(this.#fd, batch, position));
  }

  writev(offset: number, from: readonly Buffer[]): void {
    const [only] = from;
    if (from.length === 1 && only !== undefined) this.write(offset, only);
    else this.#each(offset, from, (position, batch) => writevSync(this.#fd, batch, position));
  }

  /** Call `io` until all vectors are done, a short count being continued where it ended; a count of 0 is EIO. */
  #each(offset: number, vecs: readonly Buffer[], io: (position: number, batch: Buffer[]) => number): void {
    let position = offset;
    for (let next = 0; next < vecs.length; next += IOV_MAX) {
      let batch = vecs.slice(next, next + IOV_MAX);
      while (batch.length > 0) {
        const count = io(position, batch);
        if (count === 0) throw endsAt(position);
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
    if (!this.#try('punch', () => punchHole(this.#fd, offset, length))) this.zero(offset, length);
  }

  zero(offset: number, length: number): void {
    if (this.#try('punch', () => punchHole(this.#fd, offset, length))) return;
    if (this.#try('zero', () => zeroRange(this.#fd, offset, length))) return;
    const zeroes = Buffer.alloc(Math.min(length, ZEROES));
    for (let done = 0; done < length; done += zeroes.length) {
      this.write(offset + done, zeroes.subarray(0, Math.min(zeroes.length, length - done)));
    }
  }

  /** @returns false where the host cannot do it, which is remembered */
  #try(ability: 'punch' | 'zero', attempt: () => void): boolean {
    if (!this.#can[ability]) return false;
    try {
      attempt();
      return true;
    } catch (error) {
      if (!isErrno(error, 'EOPNOTSUPP') && !isErrno(error, 'EINVAL') && !isErrno(error, 'ENOSYS')) throw error;
      this.#can[ability] = false;
      return false;
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
}

function endsAt(position: number): Errno {
  return errno('EIO', `the image ends at byte ${position}`);
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

/** Wait a while for a lock whose holder is about to end. @throws ImageError */
async function awaitLock(task: Task, fd: number, path: string, patience: number): Promise<void> {
  const pause = new WaitQueue();
  const end = task.sched.monotonic() + patience;
  while (!tryLockFile(fd)) {
    if (mountOf(path) !== undefined || task.sched.monotonic() >= end) {
      throw new ImageError(describeHolder(path, fstatSync(fd)));
    }
    try {
      await pause.wait(task, { timeout: LOOK_AGAIN, what: `the lock of ${path}` });
    } catch (error) {
      if (!isErrno(error, 'ETIMEDOUT')) throw error;
    }
  }
}

export interface ImageOptions {
  /** Milliseconds for which opening waits for a lock that nobody who has it mounted holds. */
  readonly patience?: number;
}

/**
 * Make a device of an image. Opening it (blkdev_get) takes the image's lock, which lasts until the device is released or the
 * process ends.
 * @throws ImageError: missing, a directory, no permission; the device's open throws it where the image is in use
 */
export function imageDevice(
  path: string,
  readOnly: boolean,
  sched: Scheduler,
  validator: Validator,
  options: ImageOptions = {},
): BlockDevice {
  const fd = open(path, readOnly);
  let size: number;
  try {
    size = sizeOf(fd, path);
  } catch (error) {
    closeSync(fd);
    throw error instanceof ImageError ? error : new ImageError(`${path} cannot be used: ${codeOf(error)}`);
  }
  let closed = false;
  const close = (): void => {
    if (!closed) closeSync(fd);
    closed = true;
  };
  const ops = {
    open: async (task: Task): Promise<void> => {
      if (closed) throw errno('ENXIO', `${path} was closed`);
      try {
        await awaitLock(task, fd, path, options.patience ?? PATIENCE);
      } catch (error) {
        close();
        throw error instanceof Errno ? new ImageError(`${path} cannot be locked: ${error.message}`) : error;
      }
    },
    release: close,
    /** The file may have grown since it was opened: what lies beyond the size known so far is the disk's too. */
    unlock_native_capacity: (_task: Task, disk: BlockDevice): void => {
      const native = sizeOf(fd, path);
      if (native > disk.size) disk.set_capacity(native);
    },
    getgeo: (_task: Task, bdev: BlockDevice): Geometry => ({
      heads: GEO_HEADS,
      sectors: GEO_SECTORS,
      cylinders: Math.floor(bdev.size / (GEO_HEADS * GEO_SECTORS * SECTOR_SIZE)),
      start: 0,
    }),
    ioctl: (_task: Task, bdev: BlockDevice, _mode: OpenMode, cmd: number): Buffer => loopStatus(fd, path, bdev, cmd),
    /** struct loop_info64 is laid out alike for 32-bit processes. */
    compat_ioctl: (_task: Task, bdev: BlockDevice, _mode: OpenMode, cmd: number): Buffer =>
      loopStatus(fd, path, bdev, cmd),
  };
  return new BlockDevice({ name: path, size, readOnly }, new ImageFile(fd), ops, sched, validator);
}
