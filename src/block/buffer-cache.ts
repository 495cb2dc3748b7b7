/** The cache of a device's blocks: sb_bread, sb_getblk, brelse, and their writing back (fs/buffer.c). */
import { buffer_head } from '../contract/buffer-head.js';
import { call } from '../locking/context.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { type Errno, errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { SECTOR_SIZE, submit_bio } from './bio.js';
import type { BlockDevice } from './block-device.js';
import { BLOCK_SIZE, BufferHead, type EndIo } from './buffer-head.js';

const SECTORS = BLOCK_SIZE / SECTOR_SIZE;
/** Blocks kept before clean ones are dropped: 64 MiB. */
const DEFAULT_LIMIT = 16384;

/** One device's buffers, least recently used first. */
class Cache {
  readonly blocks = new Map<number, BufferHead>();
  readonly dirty = new Set<BufferHead>();
  limit = DEFAULT_LIMIT;
}

const caches = new WeakMap<BlockDevice, Cache>();

function cacheOf(bdev: BlockDevice): Cache {
  let cache = caches.get(bdev);
  if (cache === undefined) {
    cache = new Cache();
    caches.set(bdev, cache);
  }
  return cache;
}

/** The buffer of a block with a reference; its bytes may not be read yet (sb_getblk). */
export function sb_getblk(_task: Task, bdev: BlockDevice, block: number): BufferHead {
  const cache = cacheOf(bdev);
  let bh = cache.blocks.get(block);
  if (bh === undefined) {
    if ((block + 1) * BLOCK_SIZE > bdev.size) throw errno('EIO', `block ${block} lies beyond the end of ${bdev.name}`);
    if (cache.blocks.size >= cache.limit) shrink(cache);
    bh = new BufferHead(bdev, block, Buffer.allocUnsafeSlow(BLOCK_SIZE));
    cache.blocks.set(block, bh);
  }
  bh.b_count++;
  return bh;
}

/** Drop clean buffers that nobody uses, oldest first, down to three quarters of the limit. */
function shrink(cache: Cache): void {
  const target = Math.floor((cache.limit * 3) / 4);
  for (const [block, bh] of cache.blocks) {
    if (cache.blocks.size <= target) return;
    if (bh.b_count === 0 && !bh.dirty && bh.private === undefined && !bh.lock.locked) cache.blocks.delete(block);
  }
  // What is left is in use or dirty: let the cache grow rather than fail, and look again after that much more.
}

/**
 * The buffer of a block, read, with a reference (sb_bread). At once where it is in memory or the device is.
 * @throws EIO
 */
export function sb_bread(task: Task, bdev: BlockDevice, block: number): Awaitable<BufferHead> {
  const bh = sb_getblk(task, bdev, block);
  if (bh.uptodate) return bh;
  return andThen(bh.lock.lock(task), (held) => {
    if (bh.uptodate) {
      held.release();
      return bh;
    }
    held.handOver();
    submit_bh(task, 'read', bh, end_buffer_read_sync);
    return andThen(wait_on_buffer(task, bh), () => {
      if (bh.uptodate) return bh;
      brelse(bh);
      throw errno('EIO', `block ${block} of ${bdev.name} cannot be read`);
    });
  });
}

/** Give a reference back (brelse). */
export function brelse(bh: BufferHead): void {
  bh.b_count--;
}

/** The buffer's bytes are newer than the device's (mark_buffer_dirty). */
export function mark_buffer_dirty(bh: BufferHead): void {
  if (bh.dirty) return;
  bh.dirty = true;
  cacheOf(bh.b_bdev).dirty.add(bh);
}

/** Its bytes are of no use any more: the block was freed (bforget). */
export function bforget(bh: BufferHead): void {
  clear_buffer_dirty(bh);
  brelse(bh);
}

export function clear_buffer_dirty(bh: BufferHead): void {
  bh.dirty = false;
  cacheOf(bh.b_bdev).dirty.delete(bh);
}

/** Start I/O on a locked buffer whose lock was handed over; `end` unlocks it in completion context (submit_bh). */
export function submit_bh(task: Task, op: 'read' | 'write', bh: BufferHead, end: EndIo, fua = false): void {
  bh.b_end_io = end;
  submit_bio(task, bh.b_bdev, {
    op,
    sector: bh.b_blocknr * SECTORS,
    vecs: [bh.b_data],
    length: BLOCK_SIZE,
    fua,
    end_io: (completion, error) => completed(completion, bh, error),
  });
}

function completed(task: Task, bh: BufferHead, error: Errno | undefined): void {
  call(task, buffer_head.b_end_io, {}, () => bh.b_end_io?.(task, bh, error === undefined));
}

export function end_buffer_read_sync(task: Task, bh: BufferHead, uptodate: boolean): void {
  bh.uptodate = uptodate;
  bh.lock.unlock(task);
}

export function end_buffer_write_sync(task: Task, bh: BufferHead, uptodate: boolean): void {
  if (!uptodate) {
    bh.write_io_error = true;
    bh.b_bdev.wb_err.set(errno('EIO', `block ${bh.b_blocknr} of ${bh.b_bdev.name} could not be written`));
  }
  bh.lock.unlock(task);
}

/** Sleep until I/O on it has ended (wait_on_buffer). */
export function wait_on_buffer(task: Task, bh: BufferHead): Awaitable<void> {
  return bh.lock.locked ? bh.lock.waitUnlocked(task) : undefined;
}

/**
 * Write a dirty buffer and wait (sync_dirty_buffer).
 * @throws EIO
 */
export function sync_dirty_buffer(task: Task, bh: BufferHead, fua = false): Awaitable<void> {
  return andThen(bh.lock.lock(task), (held) => {
    if (!bh.dirty) {
      held.release();
      return undefined;
    }
    clear_buffer_dirty(bh);
    held.handOver();
    submit_bh(task, 'write', bh, end_buffer_write_sync, fua);
    return andThen(wait_on_buffer(task, bh), () => {
      if (bh.write_io_error) {
        bh.write_io_error = false;
        throw errno('EIO', `block ${bh.b_blocknr} of ${bh.b_bdev.name} could not be written`);
      }
    });
  });
}

/** Write every dirty buffer that no journal holds, in the order of the device (sync_blockdev). @throws EIO */
export async function sync_blockdev(task: Task, bdev: BlockDevice): Promise<void> {
  const due = [...cacheOf(bdev).dirty].filter((bh) => bh.private === undefined);
  due.sort((a, b) => a.b_blocknr - b.b_blocknr);
  for (const bh of due) await sync_dirty_buffer(task, bh);
}

/** How many buffers are dirty. */
export function nr_dirty_buffers(bdev: BlockDevice): number {
  return cacheOf(bdev).dirty.size;
}

/** Forget all buffers of a device that goes away (invalidate_bdev). */
export function invalidate_bdev(bdev: BlockDevice): void {
  caches.delete(bdev);
}
