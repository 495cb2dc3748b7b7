/** Where the device has no block left for the tree to tell written blocks of an extent from unwritten ones: more of it is zeroed, and called written. */
import type { Awaitable } from '../sched/awaitable.js';
import { isErrno } from '../sched/errno.js';
import { endOf, part } from './extent-list.js';
import type { Extent } from './format/inode.js';

/** Make blocks of the device read as zeroes. */
export type Zero = (piece: Extent) => Awaitable<void>;

/** What else blocks `start` to `end` exclusive of an extent can be called written with, each with fewer pieces left than the one before: its nearer end, all of it. */
function wider(extent: Extent, start: number, end: number): (readonly [start: number, end: number])[] {
  const [before, behind] = [start - extent.logical, endOf(extent) - end];
  const ways: (readonly [number, number])[] = [];
  if (before > 0 && behind > 0) ways.push(before <= behind ? [extent.logical, end] : [start, endOf(extent)]);
  if (before > 0 || behind > 0) ways.push([extent.logical, endOf(extent)]);
  return ways;
}

/**
 * Call blocks `start` to `end` exclusive of an unwritten extent written that could not be told from its rest (ext4_split_extent_at, EXT4_EXT_MAY_ZEROOUT). i_data_sem
 * is held exclusively from before the extent was found: what others write to it, or free of it, they do before or after.
 * @param change calls blocks of it written, or changes nothing @throws ENOSPC where all of it cannot be called written either; what zeroing throws
 */
export async function zeroout(
  extent: Extent,
  start: number,
  end: number,
  change: (start: number, end: number) => Awaitable<void>,
  zero: Zero,
): Promise<void> {
  let [low, high] = [start, end];
  let failure: unknown;
  for (const [first, last] of wider(extent, start, end)) {
    if (first < low) await zero(part(extent, first, low));
    if (last > high) await zero(part(extent, high, last));
    [low, high] = [first, last];
    try {
      await change(low, high);
      return;
    } catch (error) {
      if (!isErrno(error, 'ENOSPC')) throw error;
      failure = error;
    }
  }
  throw failure;
}
