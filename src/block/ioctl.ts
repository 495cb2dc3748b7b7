/** ioctl(2) on a block device (block/ioctl.c): what every device can do is answered here, the rest by its driver. */

import { block_device_operations as rows } from '../contract/block-device.js';
import { call } from '../locking/context.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import {
  BLKBSZGET,
  BLKBSZGET_32,
  BLKDISCARD,
  BLKFLSBUF,
  BLKGETSIZE,
  BLKGETSIZE64,
  BLKGETSIZE64_32,
  BLKPBSZGET,
  BLKROGET,
  BLKRRPART,
  BLKSSZGET,
  BLKZEROOUT,
  HDIO_GETGEO,
} from '../uapi/ioctl.js';
import { blkdev_issue_discard, blkdev_issue_zeroout, SECTOR_SIZE } from './bio.js';
import { type BlockDevice, blkdev_getgeo, disk_unlock_native_capacity, type OpenMode } from './block-device.js';
import { invalidate_bdev } from './buffer-cache.js';
import { BLOCK_SIZE } from './buffer-head.js';
import { sync_blockdev } from './buffer-writeback.js';

/** An answer of 4 or 8 bytes, little-endian as on the machines that this runs on. */
function answer(value: number, bytes: 4 | 8): Buffer {
  const buffer = Buffer.alloc(bytes);
  if (bytes === 4) buffer.writeUInt32LE(value);
  else buffer.writeBigUInt64LE(BigInt(value));
  return buffer;
}

const NOTHING = Buffer.alloc(0);

/** struct hd_geometry: heads, sectors, cylinders (16 bits), first sector (`word` bytes, aligned to them). */
function geometry(task: Task, bdev: BlockDevice, word: 4 | 8): Awaitable<Buffer> {
  return andThen(blkdev_getgeo(task, bdev), (geo) => {
    const buffer = Buffer.alloc(word === 8 ? 16 : 8);
    buffer.writeUInt8(geo.heads, 0);
    buffer.writeUInt8(geo.sectors, 1);
    buffer.writeUInt16LE(Math.min(geo.cylinders, 0xffff), 2);
    buffer.set(answer(geo.start, word), word);
    return buffer;
  });
}

/** @throws EBADF */
function mustBeWritable(bdev: BlockDevice, mode: OpenMode): void {
  if (mode !== 'write' || bdev.read_only) throw errno('EBADF', `${bdev.name} is not open for writing`);
}

/** Two numbers of 64 bits, whole sectors of the device and at least one: where, and how long (blk_validate_byte_range). @throws EFAULT EINVAL */
function range(bdev: BlockDevice, arg: Buffer): { readonly sector: number; readonly length: number } {
  if (arg.length < 16) throw errno('EFAULT');
  const start = Number(arg.readBigUInt64LE(0));
  const length = Number(arg.readBigUInt64LE(8));
  if (length === 0 || start % SECTOR_SIZE !== 0 || length % SECTOR_SIZE !== 0) throw errno('EINVAL');
  if (start + length > bdev.size) throw errno('EINVAL');
  return { sector: start / SECTOR_SIZE, length };
}

/** Write the buffers, then forget them, so that the next read sees the device. @throws EIO */
async function flush_buffers(task: Task, bdev: BlockDevice): Promise<Buffer> {
  await sync_blockdev(task, bdev);
  invalidate_bdev(bdev);
  return NOTHING;
}

/** Change the device behind its buffers, so that the next read sees what it holds then. @throws EIO */
async function past_buffers(task: Task, bdev: BlockDevice, change: () => Awaitable<void>): Promise<Buffer> {
  await sync_blockdev(task, bdev);
  await change();
  invalidate_bdev(bdev);
  return NOTHING;
}

/** What is the same for every device (blkdev_common_ioctl); undefined where the driver is to be asked. */
function common(
  task: Task,
  bdev: BlockDevice,
  mode: OpenMode,
  cmd: number,
  arg: Buffer,
  word: 4 | 8,
): Awaitable<Buffer> | undefined {
  switch (cmd) {
    case BLKROGET:
      return answer(bdev.read_only ? 1 : 0, 4);
    case BLKSSZGET:
      return answer(SECTOR_SIZE, 4);
    case BLKPBSZGET:
      return answer(BLOCK_SIZE, 4);
    case BLKGETSIZE: {
      const sectors = bdev.size / SECTOR_SIZE;
      if (word === 4 && sectors > 0xffffffff) throw errno('EFBIG');
      return answer(sectors, word);
    }
    case BLKFLSBUF:
      if (!task.cred.capable('CAP_SYS_ADMIN')) throw errno('EACCES');
      return flush_buffers(task, bdev);
    case BLKDISCARD: {
      mustBeWritable(bdev, mode);
      if (bdev.discard_granularity === 0) throw errno('EOPNOTSUPP', `${bdev.name} cannot discard`);
      const { sector, length } = range(bdev, arg);
      return past_buffers(task, bdev, () => blkdev_issue_discard(task, bdev, sector, length));
    }
    case BLKZEROOUT: {
      mustBeWritable(bdev, mode);
      const { sector, length } = range(bdev, arg);
      return past_buffers(task, bdev, () => blkdev_issue_zeroout(task, bdev, sector, length));
    }
    case BLKRRPART:
      if (!task.cred.capable('CAP_SYS_ADMIN')) throw errno('EACCES');
      return andThen(disk_unlock_native_capacity(task, bdev), () => NOTHING);
    case HDIO_GETGEO:
      return geometry(task, bdev, word);
    default:
      return undefined;
  }
}

/** What differs between the ioctls of a 64-bit and of a 32-bit process. */
interface Abi {
  readonly getSize: number;
  readonly getBlockSize: number;
  /** Bytes of a long. */
  readonly word: 4 | 8;
  readonly op: 'ioctl' | 'compat_ioctl';
}

const NATIVE: Abi = { getSize: BLKGETSIZE64, getBlockSize: BLKBSZGET, word: 8, op: 'ioctl' };
const COMPAT: Abi = { getSize: BLKGETSIZE64_32, getBlockSize: BLKBSZGET_32, word: 4, op: 'compat_ioctl' };

function ioctlOf(abi: Abi, task: Task, bdev: BlockDevice, mode: OpenMode, cmd: number, arg: Buffer): Awaitable<Buffer> {
  if (cmd === abi.getSize) return answer(bdev.size, 8);
  if (cmd === abi.getBlockSize) return answer(BLOCK_SIZE, 4);
  const known = common(task, bdev, mode, cmd, arg, abi.word);
  if (known !== undefined) return known;
  const driver = bdev.ops[abi.op];
  if (driver === undefined) throw errno('ENOTTY');
  return call(task, rows[abi.op], { disk: bdev.open_mutex }, () => driver(task, bdev, mode, cmd, arg));
}

/**
 * ioctl(2) on a device (blkdev_ioctl). open_mutex must not be held.
 * @param mode how the device is open
 * @param arg what the command reads
 * @returns what it writes
 * @throws ENOTTY where neither the block layer nor the driver knows the command; EBADF EACCES EFAULT EINVAL
 */
export function blkdev_ioctl(
  task: Task,
  bdev: BlockDevice,
  mode: OpenMode,
  cmd: number,
  arg: Buffer,
): Awaitable<Buffer> {
  return ioctlOf(NATIVE, task, bdev, mode, cmd, arg);
}

/** ioctl(2) of a 32-bit process (compat_blkdev_ioctl): long is four bytes. Otherwise as blkdev_ioctl. @throws EFBIG too */
export function compat_blkdev_ioctl(
  task: Task,
  bdev: BlockDevice,
  mode: OpenMode,
  cmd: number,
  arg: Buffer,
): Awaitable<Buffer> {
  return ioctlOf(COMPAT, task, bdev, mode, cmd, arg);
}
