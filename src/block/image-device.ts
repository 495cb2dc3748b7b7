/**
 * A device in an image file or on a block device: its size, its shape, what it says of itself. Who may have it is image-hold.ts's matter, its bytes are
 * image-file.ts's.
 */
import { closeSync, fstatSync } from 'node:fs';
import { errno } from '../sched/errno.js';
import type { Scheduler } from '../sched/scheduler.js';
import type { Task } from '../sched/task.js';
import type { Validator } from '../sched/validator.js';
import { LO_FLAGS_READ_ONLY, LOOP_GET_STATUS64 } from '../uapi/ioctl.js';
import { SECTOR_SIZE } from './bio.js';
import { BlockDevice, type Geometry, type OpenMode } from './block-device.js';
import { isWriteProtected } from './host-disk.js';
import { ImageFile } from './image-file.js';
import { codeOf, ImageError, ImageHold, open } from './image-hold.js';
import { raiseFileLimit, sizeOfBlockDevice } from './libc.js';

const GEO_HEADS = 64;
const GEO_SECTORS = 32;
const LOOP_INFO_SIZE = 232;
const LO_FLAGS_AT = 52;
const LO_FILE_NAME_AT = 56;
const LO_NAME_SIZE = 64;

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

/** Bytes of an open image, whole sectors. */
function sizeOf(fd: number): number {
  const stat = fstatSync(fd);
  if (stat.isFile()) return stat.size - (stat.size % SECTOR_SIZE);
  return sizeOfBlockDevice(fd);
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
    size = sizeOf(fd);
    if (!readOnly && isWriteProtected(fd)) throw new ImageError(`${path} is write-protected`, true);
    if (!readOnly && fstatSync(fd).isFile()) checkLimit(path, size);
  } catch (error) {
    closeSync(fd);
    throw error instanceof ImageError ? error : new ImageError(`${path} cannot be used: ${codeOf(error)}`);
  }
  const file = new ImageFile(fd, fstatSync(fd).isFile() ? size : undefined);
  const hold = new ImageHold(fd, path, readOnly, options.lent === true, (own) => file.through(own));
  const ops = {
    open: (task: Task): Promise<void> => hold.take(task, options.patience),
    release: (): void => hold.release(),
    /** The file may have grown since it was opened: what lies beyond the size known so far is the disk's too. */
    unlock_native_capacity: (_task: Task, disk: BlockDevice): void => {
      const native = sizeOf(fd);
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
  const bdev = new BlockDevice({ name: path, size, readOnly }, file, ops, sched, validator);
  file.gone = (reason) => bdev.mark_dead(reason);
  return bdev;
}
