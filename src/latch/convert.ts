/** Calling blocks written, once the data that they were preallocated for are on the device (ext4_convert_unwritten_extents). */

import type { Awaitable } from '../sched/awaitable.js';
import { errno, isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { infoOf, with_handle } from './info.js';
import type { LatchInode } from './inode.js';
import { writeInode } from './inode-disk.js';
import type { Handle } from './journal/types.js';
import { markWritten } from './map.js';
import { might_wait_unconverted } from './unconverted.js';

/** Blocks `start` to `end` exclusive of a file. */
export interface BlockRange {
  readonly start: number;
  readonly end: number;
}

/**
 * The data of some ranges are on the device: their blocks are written from now on, in as many transactions as it takes. What else changes with that, `last` does in
 * the last of them. Where others' data are on their way to what would have to be zeroed, they are waited for.
 * @throws EIO EROFS, and what `last` throws; ranges may be written by then
 */
export async function convert_unwritten(
  task: Task,
  inode: LatchInode,
  ranges: readonly BlockRange[],
  last: (handle: Handle) => Awaitable<void>,
): Promise<void> {
  const info = infoOf(inode.i_sb);
  might_wait_unconverted(task);
  let [done, block] = [0, ranges[0]?.start ?? 0];
  const some = async (handle: Handle): Promise<void> => {
    try {
      for (let range = ranges[done]; range !== undefined; range = ranges[done]) {
        block = await markWritten(task, handle, inode, Math.max(block, range.start), range.end);
        if (block < range.end) return;
        done++;
        block = 0;
        await task.sched.yield();
      }
      await last(handle);
    } finally {
      await writeInode(task, handle, info, inode);
    }
  };
  do {
    const before = [done, block] as const;
    try {
      await with_handle(task, info, some);
      if (done < ranges.length && before[0] === done && before[1] === block) {
        throw errno('EIO', `block ${block} cannot be converted in one transaction`);
      }
    } catch (error) {
      if (!isErrno(error, 'EAGAIN')) throw error;
      await inode.extents.unconverted.wait(task);
    }
  } while (done < ranges.length);
}
