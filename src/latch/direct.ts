/**
 * I/O between the caller's memory and the device, past the page cache (ext4_direct_IO): of O_DIRECT, and of the swapper. What has no block, or only a preallocated
 * one, is read as zeroes; direct-alloc.ts writes to it.
 */
import { SECTOR_SIZE } from '../block/bio.js';
import type { BlockDevice } from '../block/block-device.js';
import { inode_dio_begin, inode_dio_end } from '../fs/dio-count.js';
import { generic_file_read_iter, read_accessed, readDirect } from '../fs/read-write.js';
import { GUARDED, guard_read } from '../locking/guarded.js';
import { type Held, release_held } from '../locking/held.js';
import type { IovIter } from '../mm/iov-iter.js';
import { IOCB_QUEUED, type Kiocb } from '../mm/operations.js';
import { type Awaitable, andThen, instead, withCleanup } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { hostOf } from './delayed.js';
import { dio_write } from './direct-alloc.js';
import type { Extent } from './format/inode.js';
import { BLOCK_SIZE } from './format/layout.js';
import { infoOf } from './info.js';
import type { LatchInode } from './inode.js';
import { gather, reach, sectorOf, submit, type Transfer, transferNow } from './transfer.js';

/** Find the pieces of a read of bytes `pos` to `end` exclusive, and give the iterator the memory for them. */
function gatherRead(
  task: Task,
  inode: LatchInode,
  iter: IovIter,
  start: number,
  end: number,
  out: Transfer,
): Awaitable<Transfer> {
  const take = (extent: Extent | undefined, at: number): number => {
    const mapped = extent !== undefined && !extent.unwritten ? extent : undefined;
    const length = Math.min(end - at, mapped === undefined ? BLOCK_SIZE - (at % BLOCK_SIZE) : reach(mapped, at));
    const room = Math.ceil(length / SECTOR_SIZE) * SECTOR_SIZE;
    const bytes = mapped === undefined ? Buffer.alloc(length) : Buffer.allocUnsafeSlow(room);
    if (mapped !== undefined) out.pieces.push({ sector: sectorOf(mapped, at), vecs: [bytes] });
    out.total += iter.addBytes(bytes.subarray(0, length));
    return at + length;
  };
  return andThen(gather(task, inode, start, end, take), instead, out);
}

/** Find the pieces of a write, as far as it overwrites what is on the device already. */
function gatherWrite(
  task: Task,
  inode: LatchInode,
  iter: IovIter,
  start: number,
  end: number,
  out: Transfer,
): Awaitable<Transfer> {
  const take = (extent: Extent | undefined, at: number): number => {
    if (extent === undefined || extent.unwritten) return end;
    const bytes = iter.take(Math.min(end - at, reach(extent, at)));
    out.pieces.push({ sector: sectorOf(extent, at), vecs: [bytes] });
    out.total += bytes.length;
    return at + bytes.length;
  };
  return andThen(gather(task, inode, start, end, take), instead, out);
}

/** Do it: waited for, or queued where the kiocb has somebody who is told. @throws EIO */
function transfer(what: Transfer, task: Task, inode: LatchInode, iocb: Kiocb): Awaitable<number | typeof IOCB_QUEUED> {
  const { total } = what;
  if (what.pieces.length === 0) return total;
  const { bdev } = infoOf(inode.i_sb);
  const { ki_complete } = iocb;
  if (ki_complete !== undefined) {
    if (iocb.hipri === true) iocb.private = bdev;
    inode_dio_begin(inode);
    submit(task, bdev, what, iocb.hipri === true, (completion, error) => {
      inode_dio_end(inode);
      ki_complete(completion, error ?? total);
    });
    return IOCB_QUEUED;
  }
  inode_dio_begin(inode);
  return withCleanup(transferWaited, endWaited, inode, task, bdev, what);
}

function transferWaited(_inode: LatchInode, task: Task, bdev: BlockDevice, what: Transfer): Awaitable<number> {
  return andThen(transferNow(task, bdev, what), instead, what.total);
}

function endWaited(inode: LatchInode): void {
  inode_dio_end(inode);
}

/**
 * ->direct_IO. i_rwsem is held: shared, and exclusively for a write that maps blocks or makes the file longer. What is not in whole sectors is left in the iterator, for the page cache.
 * @returns bytes, or IOCB_QUEUED @throws EIO; for a write also ENOSPC EDQUOT EROFS, where none of it counts as written
 */
export function latch_direct_IO(task: Task, iocb: Kiocb, iter: IovIter): Awaitable<number | typeof IOCB_QUEUED> {
  const inode = hostOf(iocb.ki_filp.f_mapping);
  const { ki_pos: pos } = iocb;
  guard_read(task, GUARDED.dio_blocks, inode.i_rwsem);
  if (pos % SECTOR_SIZE !== 0) return 0;
  if (iter.source !== undefined) return write(task, inode, iocb, iter);
  const end = Math.min(pos + iter.count, inode.i_size);
  if (end <= pos) return 0;
  const found = gatherRead(task, inode, iter, pos, end, { op: 'read', pieces: [], total: 0 });
  return andThen(found, transfer, task, inode, iocb);
}

/** What overwrites stored bytes goes straight to them; for anything more the metadata must change. */
function write(task: Task, inode: LatchInode, iocb: Kiocb, iter: IovIter): Awaitable<number | typeof IOCB_QUEUED> {
  const { ki_pos: pos } = iocb;
  const end = pos + wholeSectors(iter.count);
  if (end === pos) return 0;
  const stored = Math.min(end, pos + wholeSectors(Math.max(0, inode.i_disksize - pos)));
  const found = gatherWrite(task, inode, iter, pos, stored, { op: 'write', pieces: [], total: 0 });
  return andThen(found, writeFound, task, inode, iocb, iter, end);
}

function writeFound(
  found: Transfer,
  task: Task,
  inode: LatchInode,
  iocb: Kiocb,
  iter: IovIter,
  end: number,
): Awaitable<number | typeof IOCB_QUEUED> {
  const { ki_pos: pos } = iocb;
  if (pos + found.total === end) return transfer(found, task, inode, iocb);
  return dio_write(task, inode, pos, end, iter, found);
}

function wholeSectors(bytes: number): number {
  return Math.floor(bytes / SECTOR_SIZE) * SECTOR_SIZE;
}

/**
 * ->read_iter: a direct read holds i_rwsem shared, so that its blocks do not go to another file meanwhile (ext4_dio_read_iter). @throws EAGAIN with iocb.nowait
 * where it would have to wait for that
 */
export function latch_read_iter(task: Task, iocb: Kiocb, iter: IovIter): Awaitable<number | typeof IOCB_QUEUED> {
  const { i_rwsem, i_sb } = hostOf(iocb.ki_filp.f_mapping);
  infoOf(i_sb).assert_running();
  if (!iocb.direct) return generic_file_read_iter(task, iocb, iter);
  const held = iocb.nowait ? i_rwsem.tryRead(task) : i_rwsem.read(task);
  if (held === undefined) throw errno('EAGAIN');
  return andThen(andThen(held, readHeld, task, iocb, iter), read_accessed<number | typeof IOCB_QUEUED>, task, iocb);
}

function readHeld(held: Held, task: Task, iocb: Kiocb, iter: IovIter): Awaitable<number | typeof IOCB_QUEUED> {
  return withCleanup(readLocked, release_held, held, task, iocb, iter);
}

function readLocked(_held: Held, task: Task, iocb: Kiocb, iter: IovIter): Awaitable<number | typeof IOCB_QUEUED> {
  return iter.count === 0 ? 0 : readDirect(task, iocb, iter);
}

/**
 * ->swap_rw: a page of a swap file, whose tree latch_swap_activate keeps in memory: nothing is allocated, and nothing waited for. The page is unlocked when
 * the device is done. @throws EIO for what is not of the file
 */
export function latch_swap_rw(task: Task, iocb: Kiocb, iter: IovIter): Awaitable<number | typeof IOCB_QUEUED> {
  const inode = hostOf(iocb.ki_filp.f_mapping);
  const { ki_pos: pos } = iocb;
  return andThen(inode.extents.find(task, Math.floor(pos / BLOCK_SIZE)), (extent) => {
    if (extent === undefined || pos % BLOCK_SIZE !== 0 || reach(extent, pos) < iter.count) {
      throw errno('EIO', `byte ${pos} of a swap file has no block`);
    }
    const writes = iter.source !== undefined;
    const bytes = writes ? iter.take(iter.count) : Buffer.allocUnsafeSlow(iter.count);
    if (!writes) iter.addBytes(bytes);
    const op = writes ? 'write' : 'read';
    const pieces = [{ sector: sectorOf(extent, pos), vecs: [bytes] }];
    return transfer({ op, pieces, total: bytes.length }, task, inode, iocb);
  });
}
