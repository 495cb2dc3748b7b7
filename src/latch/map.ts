/** Mapping blocks of a file: taking blocks of the device for a hole, and saying that preallocated ones were written. */
import { blkdev_issue_zeroout, SECTOR_SIZE } from '../block/bio.js';
import { type Awaitable, inTurn } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { ALLOC_CREDITS, type Run } from './alloc.js';
import { giveBlocks, takeBlocks } from './charge.js';
import { endOf } from './extent-list.js';
import type { Hole } from './extents.js';
import { type BlockSource, fillHole, markBlocks } from './extents-change.js';
import type { Extent } from './format/inode.js';
import { BLOCK_SIZE, INODES_PER_BLOCK } from './format/layout.js';
import { infoOf, with_handle } from './info.js';
import type { LatchInode } from './inode.js';
import { writeInode } from './inode-disk.js';
import type { Handle } from './journal/types.js';

export const SECTORS = BLOCK_SIZE / SECTOR_SIZE;

/**
 * Map the beginning of a hole to fresh blocks, behind those of the block before it where they are free, and charge them. The caller has been promised as many,
 * and marks the inode dirty.
 * @param unwritten they read as zeroes; otherwise the caller writes to them in this transaction
 * @param charged they were charged when they were promised
 * @returns how many blocks were mapped; 0 where somebody else has mapped the first one
 * @throws ENOSPC EDQUOT: then nothing was
 */
export async function mapRun(
  task: Task,
  handle: Handle,
  inode: LatchInode,
  hole: Hole,
  unwritten: boolean,
  charged = false,
): Promise<number> {
  const source = new FreeBlocks(task, handle, inode, hole, charged);
  return await fillHole(inode.extents, task, handle, hole, unwritten, source);
}

/** The device's blocks for a hole of a file. */
class FreeBlocks implements BlockSource {
  readonly #task: Task;
  readonly #handle: Handle;
  readonly #inode: LatchInode;
  readonly #hole: Hole;
  readonly #charged: boolean;

  constructor(task: Task, handle: Handle, inode: LatchInode, hole: Hole, charged: boolean) {
    this.#task = task;
    this.#handle = handle;
    this.#inode = inode;
    this.#hole = hole;
    this.#charged = charged;
  }

  allocate(before: Extent | undefined, length: number): Awaitable<Run> {
    const [task, handle, inode] = [this.#task, this.#handle, this.#inode];
    // Behind the block before, or near the inode.
    const behind = before !== undefined && endOf(before) === this.#hole.logical;
    const goal = behind
      ? before.physical + before.length
      : Math.floor(inode.i_ino / INODES_PER_BLOCK) + 1 + this.#hole.logical;
    if (this.#charged) return infoOf(inode.i_sb).alloc.allocate(task, handle, length, goal, true);
    return takeBlocks(task, handle, inode, length, goal, { promised: true });
  }

  giveBack(run: Run): Awaitable<void> {
    const [task, handle, inode] = [this.#task, this.#handle, this.#inode];
    if (this.#charged) return infoOf(inode.i_sb).alloc.free(task, handle, run.start, run.length);
    return giveBlocks(task, handle, inode, run);
  }
}

/** What a caller of preallocate has to do beside. */
export interface Preallocating {
  /** In each handle, before anything is mapped in it. */
  readonly begin?: (handle: Handle) => Awaitable<void>;
  /** The caller has promised itself the blocks, and gives the promise back as they are mapped. */
  readonly promised?: true;
  /** Blocks were mapped. */
  readonly mapped?: (blocks: Hole) => void;
}

/**
 * Map the holes of a range to fresh blocks that read as zeroes, in as many transactions as it takes. i_rwsem is held exclusively.
 * @throws ENOSPC EDQUOT EIO EROFS, with what was mapped so far
 */
export async function preallocate(
  task: Task,
  inode: LatchInode,
  range: Hole,
  { begin, promised, mapped }: Preallocating = {},
): Promise<void> {
  const info = infoOf(inode.i_sb);
  const end = range.logical + range.length;
  let block = range.logical;
  const some = async (handle: Handle): Promise<void> => {
    await begin?.(handle);
    while (block < end && handle.credits >= inode.extents.credits + ALLOC_CREDITS) {
      const extent = await inode.extents.next(task, block);
      if (extent !== undefined && extent.logical <= block) {
        block = endOf(extent);
        continue;
      }
      const length = Math.min(end, extent?.logical ?? end) - block;
      // What is promised to pages is not taken.
      const room = promised === true ? length : info.alloc.promises.reserveSome(length);
      if (room === 0) throw errno('ENOSPC');
      let count: number;
      try {
        count = await mapRun(task, handle, inode, { logical: block, length: room }, true);
      } finally {
        if (promised !== true) info.alloc.promises.unreserve(room);
      }
      mapped?.({ logical: block, length: count });
      block += count;
      if (block < end) await task.sched.yield();
    }
  };
  while (block < end) {
    // What a commit frees counts as free, and cannot be taken before.
    if (info.alloc.pending > 0 && info.alloc.promises.available - info.alloc.pending < end - block) {
      await info.journal.force_commit(task);
    }
    await with_handle(task, info, async (handle) => {
      try {
        await some(handle);
      } finally {
        await writeInode(task, handle, info, inode);
      }
    });
  }
}

/**
 * Blocks `start` to `end` exclusive are written now, or will be before the transaction commits: for as long as the handle has credits. Where the device has no
 * block left for the tree to remember which, more of their extent is written too, with zeroes. The caller marks the inode dirty.
 * @returns where it has come to
 * @throws EAGAIN where somebody else's data are on their way to what would be zeroed: wait for them (`unconverted`) without a handle, and try again; EIO
 */
export function markWritten(
  task: Task,
  handle: Handle,
  inode: LatchInode,
  start: number,
  end: number,
): Promise<number> {
  return markBlocks(inode.extents, task, handle, start, end, false, { zero: zeroBlocks, given: inode });
}

function zeroBlocks(task: Task, piece: Extent, inode: LatchInode): Awaitable<void> {
  const { unconverted } = inode.extents;
  const [start, end] = [piece.logical, endOf(piece)];
  if (unconverted.overlaps(start, end)) throw errno('EAGAIN');
  const { bdev } = infoOf(inode.i_sb);
  // What others have written there, and not called written yet, stays.
  const zero = ([from, to]: readonly [number, number]): Awaitable<void> =>
    blkdev_issue_zeroout(task, bdev, (piece.physical + from - start) * SECTORS, (to - from) * BLOCK_SIZE);
  return inTurn(...unconverted.without(start, end).map((gap) => () => zero(gap)));
}
