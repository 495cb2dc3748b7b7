/** The cache of a device's blocks: finding, reading, changing and writing back (fs/buffer.c). */

import { buffer_head } from '../contract/buffer-head.js';
import { call } from '../locking/context.js';
import { GUARDED, guard_write } from '../locking/guarded.js';
import type { Held } from '../locking/held.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { type Errno, errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { might_sleep } from '../sched/wait.js';
import { SECTOR_SIZE, submit_bio } from './bio.js';
import type { BlockDevice } from './block-device.js';
import { bytes_read } from './buffer-access.js';
import { BLOCK_SIZE, type BufferHead, type EndIo } from './buffer-head.js';

const SECTORS = BLOCK_SIZE / SECTOR_SIZE;
/** Blocks that follow each other and are written with one request, at most. */
const MAX_RUN = 256;

/** A mistake of the buffer's user, told in the log. */
function misuse(bh: BufferHead, task: Task | undefined, rule: string, what: string): void {
  bh.b_bdev.validator.violation(task, 'guarded-state', {
    message: `block ${bh.b_blocknr} of ${bh.b_bdev.name}: ${what}`,
    rule,
    lock: 'bh',
    held: task === undefined ? [] : [...task.held],
  });
}

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

/** One more reference (get_bh). */
export function get_bh(bh: BufferHead): void {
  bh.b_bdev.buffers.get(bh);
}

/** Give a reference back (brelse, put_bh). Callable in completion context. */
export function brelse(bh: BufferHead): void {
  if (!bh.b_bdev.buffers.put(bh))
    misuse(bh, undefined, 'buffer#released-once', 'released more often than it was taken');
}

/** Lock a buffer, sleeping while it is locked (lock_buffer). */
export function lock_buffer(task: Task, bh: BufferHead): Awaitable<Held<'bh', 'write'>> {
  return bh.lock.lock(task);
}

/** Unlock a buffer that the task has locked, or whose lock was left to I/O (unlock_buffer). */
export function unlock_buffer(task: Task, bh: BufferHead): void {
  bh.lock.unlock(task);
}

/** The buffer's bytes are newer than the device's (mark_buffer_dirty). The caller has a reference, and has filled all of it. */
export function mark_buffer_dirty(bh: BufferHead): void {
  if (bh.dirty) return;
  if (!bh.uptodate) misuse(bh, undefined, 'buffer#dirty-when-uptodate', 'made dirty though it is not uptodate');
  if (bh.b_count === 0 && bh.private === undefined)
    misuse(bh, undefined, 'buffer#dirty-with-a-reference', 'made dirty without a reference');
  bh.b_bdev.buffers.setDirty(bh);
}

/** Its bytes need not be written any more, or somebody else sees to it (clear_buffer_dirty). */
export function clear_buffer_dirty(bh: BufferHead): void {
  if (bh.dirty) bh.b_bdev.buffers.clearDirty(bh);
}

/** Its bytes are of no use any more, because the block was freed; gives the reference back (bforget). */
export function bforget(bh: BufferHead): void {
  clear_buffer_dirty(bh);
  brelse(bh);
}

/**
 * Start I/O on a locked buffer (submit_bh). The lock is left to the I/O: `end` is called in completion context and unlocks it.
 * @param fua stable before it completes
 * @param preflush all that was written before is stable before it starts
 */
export function submit_bh(
  task: Task,
  op: 'read' | 'write',
  bh: BufferHead,
  end: EndIo,
  fua = false,
  preflush = false,
): void {
  if (!leaveToIo(task, bh, end)) return;
  if (op === 'write') bh.b_bdev.buffers.writing.add(bh);
  submit_bio(task, bh.b_bdev, {
    op,
    sector: bh.b_blocknr * SECTORS,
    vecs: [bh.b_data],
    length: BLOCK_SIZE,
    fua,
    preflush,
    end_io: (completion, error) => completed(completion, bh, error),
  });
}

function leaveToIo(task: Task, bh: BufferHead, end: EndIo): boolean {
  const held = bh.lock.writer;
  if (held?.task !== task) {
    misuse(bh, task, 'buffer#submitted-locked', 'submitted without its lock');
    return false;
  }
  held.handOver();
  bh.b_end_io = end;
  return true;
}

/** The I/O is over: the completion has the lock now, and b_end_io must give it back. */
function completed(task: Task, bh: BufferHead, error: Errno | undefined): void {
  bh.b_bdev.buffers.writing.delete(bh);
  const held = bh.lock.writer;
  held?.transfer(task);
  try {
    call(task, buffer_head.b_end_io, { bh: bh.lock }, () => bh.b_end_io?.(task, bh, error === undefined));
  } catch (thrown) {
    // Who waits for the buffer must not wait for ever because a callback has failed.
    if (held?.released === false) {
      bh.uptodate = false;
      held.release();
    }
    throw thrown;
  }
}

/** The b_end_io of a read. */
export function end_buffer_read_sync(task: Task, bh: BufferHead, uptodate: boolean): void {
  guard_write(task, GUARDED.bh_uptodate, bh.lock);
  bh.uptodate = uptodate;
  bh.verified = false;
  if (uptodate && task.validator.stacks) bytes_read(bh);
  bh.lock.unlock(task);
}

/**
 * The b_end_io of a write; an error is kept for sync_blockdev too. The bytes in memory stay the right ones: in Linux they are read again,
 * which gives the old ones, and every filesystem has to look out for that.
 */
export function end_buffer_write_sync(task: Task, bh: BufferHead, uptodate: boolean): void {
  bh.write_io_error = !uptodate;
  if (!uptodate) bh.b_bdev.wb_err.set(errno('EIO', `block ${bh.b_blocknr} of ${bh.b_bdev.name} could not be written`));
  bh.lock.unlock(task);
}

/** Sleep until I/O on it has ended, or who else has it locked has unlocked it (wait_on_buffer). */
export function wait_on_buffer(task: Task, bh: BufferHead): Awaitable<void> {
  might_sleep(task, 'bh');
  return bh.lock.locked ? waitUnlocked(task, bh) : undefined;
}

/** Unlike a page's, until nobody has it: who got it meanwhile may have begun to write. */
async function waitUnlocked(task: Task, bh: BufferHead): Promise<void> {
  while (bh.lock.locked) await bh.lock.waitUnlocked(task);
}

/**
 * Write a dirty buffer and wait (sync_dirty_buffer); a journal's too. At once where it is clean or the device is done at once.
 * @throws EIO
 */
export function sync_dirty_buffer(task: Task, bh: BufferHead, fua = false, preflush = false): Awaitable<void> {
  return andThen(bh.lock.lock(task), (held) => {
    if (!bh.dirty) {
      held.release();
      return undefined;
    }
    clear_buffer_dirty(bh);
    submit_bh(task, 'write', bh, end_buffer_write_sync, fua, preflush);
    return andThen(wait_on_buffer(task, bh), () => {
      if (bh.write_io_error) throw errno('EIO', `block ${bh.b_blocknr} of ${bh.b_bdev.name} could not be written`);
    });
  });
}

/** Write a buffer whose lock was left to I/O already. */
function write_alone(task: Task, bh: BufferHead): void {
  submit_bio(task, bh.b_bdev, {
    op: 'write',
    sector: bh.b_blocknr * SECTORS,
    vecs: [bh.b_data],
    length: BLOCK_SIZE,
    end_io: (completion, error) => completed(completion, bh, error),
  });
}

/** Collects locked buffers that follow each other on the device, and writes them with one request. */
class WriteRun {
  readonly #task: Task;
  readonly #bdev: BlockDevice;
  #run: BufferHead[] = [];

  constructor(task: Task, bdev: BlockDevice) {
    this.#task = task;
    this.#bdev = bdev;
  }

  add(bh: BufferHead): void {
    const last = this.#run[this.#run.length - 1];
    if (last !== undefined && (last.b_blocknr + 1 !== bh.b_blocknr || this.#run.length >= MAX_RUN)) this.submit();
    clear_buffer_dirty(bh);
    leaveToIo(this.#task, bh, end_buffer_write_sync);
    this.#bdev.buffers.writing.add(bh);
    this.#run.push(bh);
  }

  submit(): void {
    const run = this.#run;
    const [first] = run;
    if (first === undefined) return;
    this.#run = [];
    const sector = first.b_blocknr * SECTORS;
    const vecs = run.map((bh) => bh.b_data);
    const end_io = (completion: Task, error: Errno | undefined): void => {
      // One bad block must not spoil its neighbours: each is tried by itself.
      if (error !== undefined && run.length > 1) for (const bh of run) write_alone(completion, bh);
      else for (const bh of run) completed(completion, bh, error);
    };
    submit_bio(this.#task, this.#bdev, { op: 'write', sector, vecs, length: run.length * BLOCK_SIZE, end_io });
  }
}

/** Begin to write the buffers of blocks `first` to `last` that have been dirty longest, without waiting for any; those that are locked are left alone. */
export function start_writeback(task: Task, bdev: BlockDevice, limit: number, first?: number, last?: number): void {
  const run = new WriteRun(task, bdev);
  for (const bh of bdev.buffers.writable(limit, first, last)) {
    const held = bh.lock.tryLock(task);
    if (held !== undefined) run.add(bh);
  }
  run.submit();
}

/**
 * Write up to `limit` dirty buffers that no journal holds, of blocks `first` to `last`, the longest dirty first, in the order of the device, and wait for them.
 * @returns how many could not be written: their errors are in wb_err
 */
export async function write_dirty_buffers(
  task: Task,
  bdev: BlockDevice,
  limit = Number.POSITIVE_INFINITY,
  first?: number,
  last?: number,
): Promise<number> {
  const due = bdev.buffers.writable(limit, first, last);
  for (const bh of due) get_bh(bh);
  const run = new WriteRun(task, bdev);
  let failed = 0;
  try {
    for (const bh of due) {
      let held = bh.lock.tryLock(task);
      if (held === undefined) {
        run.submit();
        held = await bh.lock.lock(task);
      }
      if (bh.dirty && bh.private === undefined) run.add(bh);
      else held.release();
    }
    run.submit();
    for (const bh of due) {
      const waiting = wait_on_buffer(task, bh);
      if (waiting instanceof Promise) await waiting;
      if (bh.write_io_error) failed++;
    }
  } finally {
    run.submit();
    for (const bh of due) brelse(bh);
  }
  return failed;
}

/**
 * Write every buffer that is dirty now and that no journal holds, and wait for those on their way. The device may still have them in a volatile cache:
 * blkdev_issue_flush empties that.
 * @returns how many of the dirty ones could not be written: errors are in wb_err
 */
export async function write_and_wait_buffers(task: Task, bdev: BlockDevice): Promise<number> {
  const failed = await write_dirty_buffers(task, bdev);
  await wait_on_writing(task, bdev);
  return failed;
}

/** Wait for the buffers of blocks `first` to `last` that are on their way to the device. */
export async function wait_on_writing(
  task: Task,
  bdev: BlockDevice,
  first = 0,
  last = Number.POSITIVE_INFINITY,
): Promise<void> {
  for (const bh of [...bdev.buffers.writing]) {
    if (bh.b_blocknr < first || bh.b_blocknr > last) continue;
    const waiting = wait_on_buffer(task, bh);
    if (waiting instanceof Promise) await waiting;
  }
}

/**
 * Write all buffers as write_and_wait_buffers does (sync_blockdev).
 * @throws EIO also for earlier writes that nobody has waited for
 */
export async function sync_blockdev(task: Task, bdev: BlockDevice): Promise<void> {
  const store = bdev.buffers;
  const failed = await write_and_wait_buffers(task, bdev);
  const { error, cursor } = bdev.wb_err.checkAndAdvance(store.errorsTold);
  store.errorsTold = cursor;
  if (error !== undefined) throw error;
  if (failed > 0) throw errno('EIO', `${failed} blocks of ${bdev.name} could not be written`);
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
