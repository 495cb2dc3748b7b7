/** A request to a block device, and its completion (struct bio). */
import type { Awaitable } from '../sched/awaitable.js';
import type { Errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { WaitQueue } from '../sched/wait.js';
import type { BlockDevice } from './block-device.js';

export type BioOp = 'read' | 'write' | 'flush' | 'discard' | 'write_zeroes';

/** Bytes in a sector, the unit of addresses. */
export const SECTOR_SIZE = 512;

export interface Bio {
  readonly op: BioOp;
  /** First sector. */
  readonly sector: number;
  /** Where the bytes are or go, in order; not copied. Empty for flush, discard and write_zeroes. */
  readonly vecs: readonly Buffer[];
  /** Bytes, a multiple of the sector; for read and write those of `vecs`. */
  readonly length: number;
  /** The write is stable before it completes (REQ_FUA). */
  readonly fua?: boolean;
  /** All writes completed before are stable before this one starts (REQ_PREFLUSH). */
  readonly preflush?: boolean;
  /** Its completion waits until somebody polls for it (REQ_POLLED): see bio_poll. */
  readonly polled?: boolean;
  /**
   * Called once in completion context: `task` may not sleep. `error` is EIO for an address beyond the end and for what the device
   * cannot do, EROFS for a write to a read-only device, EINVAL for a length that is not one of sectors, ENOSPC where an image cannot grow.
   */
  readonly end_io: (task: Task, error: Errno | undefined) => void;
}

/** Hand a bio to its device (submit_bio). Its end_io is called before this returns where the device is done at once. Does not sleep. */
export function submit_bio(task: Task, bdev: BlockDevice, bio: Bio): void {
  bdev.queue.submit(task, bio);
}

/**
 * Hand a bio without end_io to its device and wait for its end (submit_bio_wait). At once where the device is done at once.
 * @throws the device's errno: EIO, EROFS, EINVAL, ENOSPC
 */
export function submit_bio_wait(task: Task, bdev: BlockDevice, bio: Omit<Bio, 'end_io'>): Awaitable<void> {
  let done = false;
  let failure: Errno | undefined;
  let queue: WaitQueue | undefined;
  bdev.queue.submit(task, {
    ...bio,
    end_io: (_completion, error) => {
      done = true;
      failure = error;
      queue?.wake_all();
    },
  });
  if (done) {
    if (failure !== undefined) throw failure;
    return undefined;
  }
  queue = new WaitQueue();
  return waitDone(task, queue, () => failure);
}

async function waitDone(task: Task, queue: WaitQueue, failure: () => Errno | undefined): Promise<void> {
  await queue.wait(task, { what: 'block I/O' });
  const error = failure();
  if (error !== undefined) throw error;
}

/**
 * Run the completions of polled requests that the device has finished (bio_poll).
 * @param spin wait until there is one, where any is under way
 * @returns how many were run
 */
export function bio_poll(task: Task, bdev: BlockDevice, spin: boolean): Awaitable<number> {
  return bdev.queue.poll(task, spin);
}

/** Make all writes that have completed stable, and wait for it (blkdev_issue_flush). @throws EIO */
export function blkdev_issue_flush(task: Task, bdev: BlockDevice): Awaitable<void> {
  return submit_bio_wait(task, bdev, { op: 'flush', sector: 0, vecs: [], length: 0 });
}

/**
 * Tell the device that a range holds nothing any more; it reads as zeroes (blkdev_issue_discard).
 * @param sector first sector
 * @param length bytes
 * @throws EIO EROFS
 */
export function blkdev_issue_discard(task: Task, bdev: BlockDevice, sector: number, length: number): Awaitable<void> {
  return submit_bio_wait(task, bdev, { op: 'discard', sector, vecs: [], length });
}

/** Make a range read as zeroes (blkdev_issue_zeroout). Otherwise as blkdev_issue_discard. */
export function blkdev_issue_zeroout(task: Task, bdev: BlockDevice, sector: number, length: number): Awaitable<void> {
  return submit_bio_wait(task, bdev, { op: 'write_zeroes', sector, vecs: [], length });
}
