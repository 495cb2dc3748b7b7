/** What is done with one buffer: references, its lock, dirty or not, read and written (fs/buffer.c). */
import { buffer_head } from '../contract/buffer-head.js';
import { invoke } from '../locking/context.js';
import { GUARDED, guard_write } from '../locking/guarded.js';
import type { Held } from '../locking/held.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { type Errno, errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { might_sleep } from '../sched/wait.js';
import { SECTOR_SIZE, submit_bio } from './bio.js';
import { bytes_read } from './buffer-access.js';
import { BLOCK_SIZE, type BufferHead, type EndIo } from './buffer-head.js';

/** Of a block. */
export const SECTORS = BLOCK_SIZE / SECTOR_SIZE;

/** A mistake of the buffer's user, told in the log. */
function misuse(bh: BufferHead, task: Task | undefined, rule: string, what: string): void {
  bh.b_bdev.validator.violation(task, 'guarded-state', {
    message: `block ${bh.b_blocknr} of ${bh.b_bdev.name}: ${what}`,
    rule,
    lock: 'bh',
    held: task === undefined ? [] : [...task.held],
  });
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

/** The lock of a buffer goes to the I/O that is about to start. @param end what gives it back @returns false where the task does not hold it, which is told in the log */
export function leaveToIo(task: Task, bh: BufferHead, end: EndIo): boolean {
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
export function completed(task: Task, bh: BufferHead, error: Errno | undefined): void {
  bh.b_bdev.buffers.writing.delete(bh);
  const held = bh.lock.writer;
  held?.transfer(task);
  try {
    const { b_end_io } = bh;
    if (b_end_io !== undefined) invoke(task, buffer_head.b_end_io, { bh: bh.lock }, b_end_io, bh, error === undefined);
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
  return andThen(bh.lock.lock(task), syncLocked, task, bh, fua, preflush);
}

function syncLocked(held: Held, task: Task, bh: BufferHead, fua: boolean, preflush: boolean): Awaitable<void> {
  if (!bh.dirty) {
    held.release();
    return undefined;
  }
  clear_buffer_dirty(bh);
  submit_bh(task, 'write', bh, end_buffer_write_sync, fua, preflush);
  return andThen(wait_on_buffer(task, bh), throwIfLost, bh);
}

function throwIfLost(_written: void, bh: BufferHead): void {
  if (bh.write_io_error) throw errno('EIO', `block ${bh.b_blocknr} of ${bh.b_bdev.name} could not be written`);
}
