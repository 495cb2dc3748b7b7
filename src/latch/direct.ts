/**
 * I/O between the caller's memory and the device, past the page cache (ext4_direct_IO): of O_DIRECT, and of the swapper. What has no block, or only a preallocated
 * one, is read as zeroes and left to the page cache to be written.
 */
import { SECTOR_SIZE, submit_bio } from '../block/bio.js';
import type { BlockDevice } from '../block/block-device.js';
import { inode_dio_begin, inode_dio_end } from '../fs/dio-count.js';
import { file_accessed, generic_file_read_iter, readDirect } from '../fs/read-write.js';
import type { IovIter } from '../mm/iov-iter.js';
import { IOCB_QUEUED, type Kiocb } from '../mm/operations.js';
import { type Awaitable, andThen, withCleanup } from '../sched/awaitable.js';
import { type Errno, errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { WaitQueue } from '../sched/wait.js';
import { hostOf } from './delayed.js';
import { endOf } from './extents.js';
import type { Extent } from './format/inode.js';
import { BLOCK_SIZE } from './format/layout.js';
import { infoOf } from './info.js';
import type { LatchInode } from './inode.js';
import { SECTORS } from './map.js';

/** Bytes that lie together on the device. */
interface Piece {
  readonly sector: number;
  /** Whole sectors. */
  readonly bytes: Buffer;
}

/** What one call transfers. */
interface Transfer {
  readonly op: 'read' | 'write';
  readonly pieces: Piece[];
  /** Bytes of the file. */
  total: number;
}

function sectorOf(extent: Extent, pos: number): number {
  return (extent.physical - extent.logical) * SECTORS + pos / SECTOR_SIZE;
}

/** Bytes of a mapped file from `pos` on that one extent has. */
function reach(extent: Extent, pos: number): number {
  return endOf(extent) * BLOCK_SIZE - pos;
}

/** Go through bytes `start` to `end` exclusive of a file: `take` gets what maps the byte that it has come to, and says where it goes on. */
function gather(
  task: Task,
  inode: LatchInode,
  start: number,
  end: number,
  take: (extent: Extent | undefined, at: number) => number,
): Awaitable<void> {
  for (let at = start; at < end; ) {
    const here = at;
    const found = inode.extents.find(task, Math.floor(here / BLOCK_SIZE));
    if (found instanceof Promise) return found.then((extent) => gather(task, inode, take(extent, here), end, take));
    at = take(found, here);
  }
  return undefined;
}

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
    if (mapped !== undefined) out.pieces.push({ sector: sectorOf(mapped, at), bytes });
    out.total += iter.addBytes(bytes.subarray(0, length));
    return at + length;
  };
  return andThen(gather(task, inode, start, end, take), () => out);
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
    out.pieces.push({ sector: sectorOf(extent, at), bytes });
    out.total += bytes.length;
    return at + bytes.length;
  };
  return andThen(gather(task, inode, start, end, take), () => out);
}

/** Start all pieces; `end` is called in completion context after the last, with the first error. */
function submit(
  task: Task,
  bdev: BlockDevice,
  { op, pieces }: Transfer,
  polled: boolean,
  end: (task: Task, error: Errno | undefined) => void,
): void {
  let left = pieces.length;
  let failure: Errno | undefined;
  for (const { sector, bytes } of pieces) {
    submit_bio(task, bdev, {
      op,
      sector,
      vecs: [bytes],
      length: bytes.length,
      polled,
      end_io: (completion, error) => {
        failure ??= error;
        if (--left === 0) end(completion, failure);
      },
    });
  }
}

/** Do it: waited for, or queued where the kiocb has somebody who is told. @throws EIO */
function transfer(task: Task, inode: LatchInode, iocb: Kiocb, what: Transfer): Awaitable<number | typeof IOCB_QUEUED> {
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
  let done = false;
  let failure: Errno | undefined;
  let queue: WaitQueue | undefined;
  submit(task, bdev, what, false, (_completion, error) => {
    done = true;
    failure = error;
    queue?.wake_all();
  });
  const result = (): number => {
    if (failure !== undefined) throw failure;
    return total;
  };
  if (done) return result();
  queue = new WaitQueue();
  return queue.wait(task, { what: 'block I/O' }).then(result);
}

/**
 * ->direct_IO. i_rwsem is held: shared for a read, exclusively for a write. What is not in whole sectors, has no written block, or lies behind the end that
 * is on the device is left in the iterator, for the page cache.
 * @returns bytes, or IOCB_QUEUED @throws EIO
 */
export function latch_direct_IO(task: Task, iocb: Kiocb, iter: IovIter): Awaitable<number | typeof IOCB_QUEUED> {
  const inode = hostOf(iocb.ki_filp.f_mapping);
  const { ki_pos: pos } = iocb;
  if (pos % SECTOR_SIZE !== 0) return 0;
  const writes = iter.source !== undefined;
  const limit = pos + iter.count;
  const end = writes ? pos + wholeSectors(Math.min(limit, inode.i_disksize) - pos) : Math.min(limit, inode.i_size);
  if (end <= pos) return 0;
  const empty: Transfer = { op: writes ? 'write' : 'read', pieces: [], total: 0 };
  return andThen((writes ? gatherWrite : gatherRead)(task, inode, iter, pos, end, empty), (found) =>
    transfer(task, inode, iocb, found),
  );
}

function wholeSectors(bytes: number): number {
  return Math.floor(bytes / SECTOR_SIZE) * SECTOR_SIZE;
}

/**
 * ->read_iter: a direct read holds i_rwsem shared, so that its blocks do not go to another file meanwhile (ext4_dio_read_iter). @throws EAGAIN with iocb.nowait
 * where it would have to wait for that
 */
export function latch_read_iter(task: Task, iocb: Kiocb, iter: IovIter): Awaitable<number | typeof IOCB_QUEUED> {
  if (!iocb.direct) return generic_file_read_iter(task, iocb, iter);
  const { i_rwsem } = hostOf(iocb.ki_filp.f_mapping);
  const held = iocb.nowait ? i_rwsem.tryRead(task) : i_rwsem.read(task);
  if (held === undefined) throw errno('EAGAIN');
  const read = andThen(held, (guard) =>
    withCleanup(
      () => (iter.count === 0 ? 0 : readDirect(task, iocb, iter)),
      () => guard.release(),
    ),
  );
  return andThen(read, (count) => file_accessed(task, iocb, count));
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
    const pieces = [{ sector: sectorOf(extent, pos), bytes }];
    return transfer(task, inode, iocb, { op, pieces, total: bytes.length });
  });
}
