/**
 * Block devices as files (block/fops.c): what a node of type S_IFBLK is when it is opened. Bytes go through the buffers of the device, which a filesystem on it
 * shares; a device whose memory can be reached directly is mapped as it is.
 */

import { blkdev_issue_flush } from '../block/bio.js';
import { type BlockDevice, blkdev_get, blkdev_put, type OpenMode } from '../block/block-device.js';
import { brelse, lock_buffer, mark_buffer_dirty } from '../block/buffer.js';
import { bytes_settled } from '../block/buffer-access.js';
import { invalidate_bdev, sb_bread, sb_getblk } from '../block/buffer-cache.js';
import { BLOCK_SIZE, type BufferHead } from '../block/buffer-head.js';
import {
  start_writeback,
  sync_blockdev,
  wait_on_writing,
  write_and_wait_buffers,
  write_dirty_buffers,
} from '../block/buffer-writeback.js';
import { blkdev_ioctl, compat_blkdev_ioctl } from '../block/ioctl.js';
import { dax_mmap } from '../mm/dax.js';
import { PAGE_SIZE } from '../mm/folio.js';
import type { IovIter } from '../mm/iov-iter.js';
import { NOMMU_MAP_COPY, NOMMU_MAP_DIRECT, NOMMU_MAP_EXEC, NOMMU_MAP_READ, NOMMU_MAP_WRITE } from '../mm/nommu.js';
import type { Kiocb } from '../mm/operations.js';
import { thp_get_unmapped_area } from '../mm/unmapped-area.js';
import type { VmArea } from '../mm/vma.js';
import type { Awaitable } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { ErrseqCursor } from '../sched/errseq.js';
import type { Task } from '../sched/task.js';
import { O_EXCL } from '../uapi/fcntl.js';
import { SEEK_CUR, SEEK_END, SEEK_SET } from '../uapi/fs.js';
import { disk_of } from './disks.js';
import { type File, FMODE_WRITE } from './file.js';
import type { Inode } from './inode.js';
import type { file_operations } from './operations.js';

/** What an open node keeps. */
class OpenDisk {
  readonly bdev: BlockDevice;
  readonly mode: OpenMode;
  /** Who has it for himself, if it was opened with O_EXCL. */
  readonly holder: object | undefined;
  /** Which write errors of the device it has been told of (f_wb_err). */
  wb_err: ErrseqCursor;

  constructor(bdev: BlockDevice, mode: OpenMode, holder: object | undefined) {
    this.bdev = bdev;
    this.mode = mode;
    this.holder = holder;
    this.wb_err = bdev.wb_err.sample();
  }
}

function opened(file: File): OpenDisk {
  if (file.private_data instanceof OpenDisk) return file.private_data;
  throw errno('ENXIO');
}

/** The device behind an open file, if it is a block device's node. */
export function bdev_of(file: File): BlockDevice | undefined {
  return file.private_data instanceof OpenDisk ? file.private_data.bdev : undefined;
}

/** ->open. Takes open_mutex. @throws ENXIO where there is no such disk; EBUSY with O_EXCL where it is somebody's, mounted for example; EACCES to write to a read-only one */
async function blkdev_open(task: Task, inode: Inode, file: File): Promise<void> {
  const bdev = disk_of(inode.i_sb.machine, inode.i_rdev);
  if (bdev === undefined) throw errno('ENXIO', `there is no disk ${inode.i_rdev}`);
  const mode = (file.f_mode & FMODE_WRITE) !== 0 ? 'write' : 'read';
  const holder = (file.f_flags & O_EXCL) !== 0 ? file : undefined;
  file.f_flags &= ~O_EXCL;
  await blkdev_get(task, bdev, mode, holder);
  file.private_data = new OpenDisk(bdev, mode, holder);
}

/** ->release. Takes open_mutex. */
function blkdev_release(task: Task, _inode: Inode, file: File): Promise<void> {
  const { bdev, mode, holder } = opened(file);
  return blkdev_put(task, bdev, holder, mode);
}

/** ->llseek: within the device, whose size is that of the node (fixed_size_llseek). @throws EINVAL */
function blkdev_llseek(_task: Task, file: File, offset: number, whence: number): number {
  const { size } = opened(file).bdev;
  const bases: Readonly<Record<number, number>> = { [SEEK_SET]: 0, [SEEK_CUR]: file.f_pos, [SEEK_END]: size };
  const base = bases[whence];
  if (base === undefined || base + offset < 0 || base + offset > size) throw errno('EINVAL');
  file.f_pos = base + offset;
  return file.f_pos;
}

/** Somebody stores to the device past its buffers: what they hold may be old, or newer than what he sees. @throws EIO */
async function settle(task: Task, bdev: BlockDevice): Promise<void> {
  if (bdev.direct_users === 0) return;
  await sync_blockdev(task, bdev);
  invalidate_bdev(bdev);
}

/** ->read_iter (blkdev_read_iter): whole buffers of the cache, read where they are not. @throws EIO */
async function blkdev_read_iter(task: Task, iocb: Kiocb, iter: IovIter): Promise<number> {
  const { bdev } = opened(iocb.ki_filp as File);
  await settle(task, bdev);
  let done = 0;
  while (iter.count > 0 && iocb.ki_pos < bdev.size) {
    const at = iocb.ki_pos % BLOCK_SIZE;
    let bh: BufferHead;
    try {
      bh = await sb_bread(task, bdev, Math.floor(iocb.ki_pos / BLOCK_SIZE));
    } catch (error) {
      if (done > 0) return done;
      throw error;
    }
    // A copy: the buffer's bytes are others' too.
    const n = iter.addBytes(Buffer.from(bh.b_data.subarray(at, at + Math.min(iter.count, BLOCK_SIZE - at))));
    brelse(bh);
    iocb.ki_pos += n;
    done += n;
  }
  return done;
}

/** ->write_iter (blkdev_write_iter). @throws EPERM on a read-only device; ENOSPC behind its end; EIO */
async function blkdev_write_iter(task: Task, iocb: Kiocb, iter: IovIter): Promise<number> {
  const file = iocb.ki_filp as File;
  const { bdev } = opened(file);
  if (bdev.read_only) throw errno('EPERM', `${bdev.name} is read-only`);
  if (iter.count === 0) return 0;
  if (iocb.ki_pos >= bdev.size) throw errno('ENOSPC');
  iter.truncate(bdev.size - iocb.ki_pos);
  let done = 0;
  while (iter.count > 0) {
    try {
      const n = await write_block(task, bdev, iocb.ki_pos, iter);
      iocb.ki_pos += n;
      done += n;
    } catch (error) {
      if (done > 0) break;
      throw error;
    }
  }
  await settle(task, bdev);
  if (iocb.sync !== false) await blkdev_fsync(task, file);
  return done;
}

/** Write what lies in one block. @returns bytes @throws EIO */
async function write_block(task: Task, bdev: BlockDevice, pos: number, iter: IovIter): Promise<number> {
  const at = pos % BLOCK_SIZE;
  const block = Math.floor(pos / BLOCK_SIZE);
  const whole = at === 0 && iter.count >= BLOCK_SIZE;
  const bh = whole ? sb_getblk(task, bdev, block) : await sb_bread(task, bdev, block);
  try {
    using _bh = await lock_buffer(task, bh);
    const n = iter.copy_from_iter(bh.b_data, at, BLOCK_SIZE - at);
    bh.uptodate = true;
    bh.verified = false;
    mark_buffer_dirty(bh);
    bytes_settled(bh);
    return n;
  } finally {
    brelse(bh);
  }
}

/** @throws the error of writing the device that this open file has not been told of */
function tell_error(disk: OpenDisk): void {
  const { error, cursor } = disk.bdev.wb_err.checkAndAdvance(disk.wb_err);
  disk.wb_err = cursor;
  if (error !== undefined) throw error;
}

/** Wait for what is on its way to bytes `start` to `end`, inclusive (file_fdatawait_range). @throws EIO, of each write that failed once to each open file */
export async function blkdev_fdatawait_range(task: Task, file: File, start: number, end: number): Promise<void> {
  const disk = opened(file);
  await wait_on_writing(task, disk.bdev, Math.floor(start / BLOCK_SIZE), Math.floor(end / BLOCK_SIZE));
  tell_error(disk);
}

/** Begin to write what is dirty in bytes `start` to `end`, inclusive; with `all` also what is locked now, which is waited for (filemap_fdatawrite_range). */
export async function blkdev_fdatawrite_range(
  task: Task,
  file: File,
  start: number,
  end: number,
  all: boolean,
): Promise<void> {
  const { bdev } = opened(file);
  const range = [Number.POSITIVE_INFINITY, Math.floor(start / BLOCK_SIZE), Math.floor(end / BLOCK_SIZE)] as const;
  if (all) await write_dirty_buffers(task, bdev, ...range);
  else start_writeback(task, bdev, ...range);
}

/** ->fsync (blkdev_fsync): the buffers, then the device's own cache. @throws EIO, of each write that failed once to each open file */
async function blkdev_fsync(task: Task, file: File): Promise<void> {
  const disk = opened(file);
  const { bdev } = disk;
  await write_and_wait_buffers(task, bdev);
  tell_error(disk);
  await blkdev_issue_flush(task, bdev);
}

/** ->mmap: the memory of the device itself. @throws ENODEV where it cannot be reached directly; EIO */
async function blkdev_mmap(task: Task, file: File, vma: VmArea): Promise<void> {
  const { bdev } = opened(file);
  if (bdev.ops.direct_access === undefined) throw errno('ENODEV', `${bdev.name} cannot be mapped`);
  await sync_blockdev(task, bdev);
  invalidate_bdev(bdev);
  dax_mmap(vma, bdev);
}

/** ->mmap_capabilities: memory that can be reached lies in one piece, for whoever (mtd_mmap_capabilities); of other devices there are copies. */
function blkdev_mmap_capabilities(_task: Task, file: File): number {
  const { bdev } = opened(file);
  if (bdev.ops.direct_access === undefined) return NOMMU_MAP_COPY;
  const writable = bdev.read_only ? 0 : NOMMU_MAP_WRITE;
  return NOMMU_MAP_DIRECT | NOMMU_MAP_COPY | NOMMU_MAP_READ | NOMMU_MAP_EXEC | writable;
}

/** The operations of every block device (def_blk_fops). */
export const def_blk_fops: file_operations = {
  open: blkdev_open,
  release: blkdev_release,
  llseek: blkdev_llseek,
  read_iter: blkdev_read_iter,
  write_iter: blkdev_write_iter,
  fsync: blkdev_fsync,
  mmap: blkdev_mmap,
  mmap_capabilities: blkdev_mmap_capabilities,
  get_unmapped_area: (_task, _file, mm, addr, length, pgoff) =>
    thp_get_unmapped_area(mm, addr, length, pgoff * PAGE_SIZE),
  unlocked_ioctl: (task, file, cmd, arg) => of_disk(blkdev_ioctl, task, file, cmd, arg),
  compat_ioctl: (task, file, cmd, arg) => of_disk(compat_blkdev_ioctl, task, file, cmd, arg),
};

function of_disk(ioctl: typeof blkdev_ioctl, task: Task, file: File, cmd: number, arg: Buffer): Awaitable<Buffer> {
  const { bdev, mode } = opened(file);
  return ioctl(task, bdev, mode, cmd >>> 0, arg);
}
