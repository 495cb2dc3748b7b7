/** A device in an image file or on a block device: what is opened, and who may. The image is locked against every other mount; its bytes are image-file.ts's. */

import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { Errno, errno, isErrno } from '../sched/errno.js';
import type { Scheduler } from '../sched/scheduler.js';
import type { Task } from '../sched/task.js';
import type { Validator } from '../sched/validator.js';
import { WaitQueue } from '../sched/wait.js';
import { LO_FLAGS_READ_ONLY, LOOP_GET_STATUS64 } from '../uapi/ioctl.js';
import { SECTOR_SIZE } from './bio.js';
import { BlockDevice, type Geometry, type OpenMode } from './block-device.js';
import { fileBehind, isWriteProtected } from './host-disk.js';
import { ImageFile } from './image-file.js';
import { describeHolder, describeUse, mountOf } from './image-holder.js';
import { raiseFileLimit, sizeOfBlockDevice, tryLockFile } from './libc.js';

/** Milliseconds for which an image that is locked, but mounted nowhere, is waited for: its daemon is writing its last bytes. */
const PATIENCE = 10_000;
const LOOK_AGAIN = 20;

const GEO_HEADS = 64;
const GEO_SECTORS = 32;
const LOOP_INFO_SIZE = 232;
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

/**
 * Take what another may have who is about to end, waiting for it a while.
 * @param take says who has it, or nothing; throws where that will not end
 * @throws ImageError
 */
async function awaitFree(task: Task, path: string, patience: number, take: () => string | undefined): Promise<void> {
  const pause = new WaitQueue();
  const end = task.sched.monotonic() + patience;
  for (let holder = take(); holder !== undefined; holder = take()) {
    if (mountOf(path) !== undefined || task.sched.monotonic() >= end) throw new ImageError(holder);
    try {
      await pause.wait(task, { timeout: LOOK_AGAIN, what: `the lock of ${path}` });
    } catch (error) {
      if (!isErrno(error, 'ETIMEDOUT')) throw error;
    }
  }
}

/**
 * Open a block device for this process alone (O_EXCL, bd_prepare_to_claim). Unlike a lock of its node this holds for its other nodes, and against the
 * kernel's own mounts, swap, and devices made of it.
 * @returns undefined where somebody has it
 */
function claim(path: string, readOnly: boolean): number | undefined {
  try {
    return openSync(path, (readOnly ? constants.O_RDONLY : constants.O_RDWR) | constants.O_EXCL);
  } catch (error) {
    if (codeOf(error) === 'EBUSY') return undefined;
    throw new ImageError(explain(codeOf(error), path, readOnly));
  }
}

/**
 * Lock the file behind a loop device, and what is behind that: somebody may have the same image by the file's own name, or by another loop device.
 * @returns what must stay open as long as the locks shall last
 * @throws ImageError where another has it
 */
async function lockBehind(task: Task, fd: number, patience: number): Promise<number[]> {
  const held: number[] = [];
  try {
    for (let path = fileBehind(fd); path !== undefined; path = fileBehind(held.at(-1) ?? fd)) {
      let file: number;
      try {
        file = openSync(path, constants.O_RDONLY);
      } catch {
        // Its name is gone, or is another namespace's: nobody else finds it by that either.
        return held;
      }
      held.push(file);
      const name = path;
      await awaitFree(task, name, patience, () =>
        tryLockFile(file) ? undefined : describeHolder(name, fstatSync(file)),
      );
    }
    return held;
  } catch (error) {
    for (const file of held) closeSync(file);
    throw error;
  }
}

/** @throws ImageError where this process may not write all of a file, because of a limit that it was started with */
function checkLimit(path: string, size: number): void {
  const most = raiseFileLimit();
  if (size > most)
    throw new ImageError(`${path} has ${size} bytes, of which only ${most} may be written here: raise 'ulimit -f'`);
}

export interface ImageOptions {
  /** Milliseconds for which opening waits for a lock that nobody who has it mounted holds. */
  readonly patience?: number;
  /** A block device is only looked at, whether anybody has it: the kernel will take it for itself, as it mounts it. */
  readonly lent?: boolean;
}

/**
 * Make a device of an image. Opening it (blkdev_get) takes the image's lock, and of a block device the device, until it is released or the
 * process ends.
 * @throws ImageError: missing, a directory, no permission, a disk that is write-protected; the device's open throws it where the image is in use
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
    if (!readOnly && isWriteProtected(fd))
      throw new ImageError(`${path} is write-protected; mount it with -o ro to read it`);
    if (!readOnly && fstatSync(fd).isFile()) checkLimit(path, size);
  } catch (error) {
    closeSync(fd);
    throw error instanceof ImageError ? error : new ImageError(`${path} cannot be used: ${codeOf(error)}`);
  }
  const isFile = fstatSync(fd).isFile();
  let own: number | undefined;
  let behind: number[] = [];
  let closed = false;
  const close = (): void => {
    if (!closed) for (const opened of [fd, own, ...behind]) if (opened !== undefined) closeSync(opened);
    closed = true;
  };
  const take = (): string | undefined => {
    if (!tryLockFile(fd)) return describeHolder(path, fstatSync(fd));
    if (isFile) return undefined;
    own ??= claim(path, readOnly);
    if (own !== undefined) {
      if (options.lent === true) {
        closeSync(own);
        own = undefined;
      } else file.through(own);
      return undefined;
    }
    // What can be seen is not about to end by itself.
    const use = describeUse(path);
    if (use !== undefined) throw new ImageError(use);
    return `${path} is in use, under this name or another, or a part of it is: release it there first`;
  };
  const ops = {
    open: async (task: Task): Promise<void> => {
      if (closed) throw errno('ENXIO', `${path} was closed`);
      try {
        const patience = options.patience ?? PATIENCE;
        await awaitFree(task, path, patience, take);
        behind = await lockBehind(task, fd, patience);
      } catch (error) {
        close();
        throw error instanceof Errno ? new ImageError(`${path} cannot be locked: ${error.message}`) : error;
      }
    },
    release: close,
    /** The file may have grown since it was opened: what lies beyond the size known so far is the disk's too. */
    unlock_native_capacity: (_task: Task, disk: BlockDevice): void => {
      const native = sizeOf(fd, path);
      if (native <= disk.size) return;
      disk.set_capacity(native);
      file.grown(native);
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
  const file = new ImageFile(fd, isFile ? size : undefined);
  const bdev = new BlockDevice({ name: path, size, readOnly }, file, ops, sched, validator);
  file.gone = (reason) => bdev.mark_dead(reason);
  return bdev;
}
