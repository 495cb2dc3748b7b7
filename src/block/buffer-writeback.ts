/** Writing back the dirty blocks of a device, in runs, and waiting for them (fs/buffer.c, block/bdev.c). */
import { type Errno, errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { submit_bio } from './bio.js';
import type { BlockDevice } from './block-device.js';
import {
  brelse,
  clear_buffer_dirty,
  completed,
  end_buffer_write_sync,
  get_bh,
  leaveToIo,
  SECTORS,
  wait_on_buffer,
} from './buffer.js';
import { BLOCK_SIZE, type BufferHead } from './buffer-head.js';

/** Blocks that follow each other and are written with one request, at most. */
export const MAX_RUN = 256;

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
