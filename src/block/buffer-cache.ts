/** The cache of a device's blocks: finding and reading them (fs/buffer.c). What is done with one of them is in buffer.ts, writing them back in buffer-writeback.ts. */
import type { Held } from '../locking/held.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { might_sleep } from '../sched/wait.js';
import type { BlockDevice } from './block-device.js';
import { brelse, end_buffer_read_sync, submit_bh, wait_on_buffer } from './buffer.js';
import { BLOCK_SIZE, type BufferHead } from './buffer-head.js';
import { MAX_RUN, start_writeback } from './buffer-writeback.js';

/**
 * The buffer of a block with a reference; its bytes are anything unless it is uptodate (sb_getblk). May sleep.
 * @throws EIO beyond the end of the device
 */
export function sb_getblk(task: Task, bdev: BlockDevice, block: number): BufferHead {
  might_sleep(task, 'sb_getblk');
  const store = bdev.buffers;
  const known = store.find(block);
  if (known !== undefined) return known;
  if (!(block >= 0 && (block + 1) * BLOCK_SIZE <= bdev.size)) {
    throw errno('EIO', `block ${block} lies beyond the end of ${bdev.name}`);
  }
  // Dirty buffers cannot be dropped: begin to write them before they fill the cache.
  if (store.dirtyCount > store.limit / 2) start_writeback(task, bdev, MAX_RUN);
  return store.create(bdev, block);
}

/** The buffer of a block with a reference, where it is in memory (sb_find_get_block). Does not sleep. */
export function sb_find_get_block(bdev: BlockDevice, block: number): BufferHead | undefined {
  return bdev.buffers.find(block);
}

/**
 * The buffer of a block, read, with a reference (sb_bread). At once where it is in memory or the device is. May sleep.
 * @throws EIO beyond the end of the device, or where the device cannot read it
 */
export function sb_bread(task: Task, bdev: BlockDevice, block: number): Awaitable<BufferHead> {
  const bh = sb_getblk(task, bdev, block);
  if (bh.uptodate) return bh;
  return andThen(bh.lock.lock(task), readLocked, task, bh);
}

function readLocked(held: Held<'bh', 'write'>, task: Task, bh: BufferHead): Awaitable<BufferHead> {
  if (bh.uptodate) {
    held.release();
    return bh;
  }
  submit_bh(task, 'read', bh, end_buffer_read_sync);
  return andThen(wait_on_buffer(task, bh), () => {
    if (bh.uptodate) return bh;
    brelse(bh);
    throw errno('EIO', `block ${bh.b_blocknr} of ${bh.b_bdev.name} cannot be read`);
  });
}

/** Begin to read a block that will be wanted, without waiting for it (sb_breadahead). May sleep. @throws EIO beyond the end */
export function sb_breadahead(task: Task, bdev: BlockDevice, block: number): void {
  const bh = sb_getblk(task, bdev, block);
  if (!bh.uptodate && bh.lock.tryLock(task) !== undefined) submit_bh(task, 'read', bh, end_buffer_read_sync);
  brelse(bh);
}

/** How many buffers are dirty, a journal's included. */
export function nr_dirty_buffers(bdev: BlockDevice): number {
  return bdev.buffers.dirtyCount;
}

/** Drop all clean buffers that nobody uses (invalidate_bdev). @returns how many are left */
export function invalidate_bdev(bdev: BlockDevice): number {
  bdev.buffers.shrink(0);
  return bdev.buffers.size;
}
