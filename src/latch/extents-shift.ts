/** Moving extents of a file to other blocks of it, as collapse and insert range do. */
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { endOf, MAX_LOGICAL, part } from './extent-list.js';
import type { ExtentTree } from './extents.js';
import { replace } from './extents-replace.js';
import type { Extent } from './format/inode.js';
import type { Handle } from './journal/types.js';

/** What remains of a move of extents: those of blocks `from` to `to` exclusive. */
export interface ShiftRest {
  readonly from: number;
  readonly to: number;
}

/**
 * Move what is mapped from `from` to `to` exclusive on by `by` blocks, back where that is negative; the room must be free. For as long as the handle
 * has credits. Takes i_data_sem exclusively.
 * @returns what remains to be moved, by another call, or undefined when all is done
 * @throws EFBIG where a block would get too high a number; ENOSPC, EIO
 */
export async function shiftBlocks(
  extents: ExtentTree,
  task: Task,
  handle: Handle,
  from: number,
  to: number,
  by: number,
): Promise<ShiftRest | undefined> {
  using _sem = await extents.lock(task);
  let [low, high] = [from, to];
  const top = await extents.floor(task, high - 1);
  if (top !== undefined && endOf(top) > low && Math.min(high, endOf(top)) + by > MAX_LOGICAL) throw errno('EFBIG');
  while (low < high) {
    const extent = by < 0 ? await extents.reaching(task, low) : await extents.floor(task, high - 1);
    if (extent === undefined || endOf(extent) <= low || extent.logical >= high) return undefined;
    if (!extents.affords(handle)) return { from: low, to: high };
    const first = Math.max(low, extent.logical);
    const end = Math.min(high, endOf(extent));
    await movePart(extents, task, handle, extent, first, end, by);
    if (by < 0) low = end;
    else high = first;
    await task.sched.yield();
  }
  return undefined;
}

/** Blocks `first` to `end` exclusive of an extent. */
async function movePart(
  extents: ExtentTree,
  task: Task,
  handle: Handle,
  extent: Extent,
  first: number,
  end: number,
  by: number,
): Promise<void> {
  const moved = { ...part(extent, first, end), logical: first + by };
  const before = moved.logical === 0 ? undefined : await extents.floor(task, moved.logical - 1);
  const after = await extents.after(task, moved.logical);
  extents.forget();
  const stays = [part(extent, extent.logical, first), part(extent, end, endOf(extent))];
  // The neighbours of its new place: its own rest may be one of them.
  const others = [before, after].filter((other) => other !== undefined && other.logical !== extent.logical);
  const fresh = [...others, moved, ...stays].sort((a, b) => (a?.logical ?? 0) - (b?.logical ?? 0));
  await replace(extents.tree, task, handle, [...others, extent], fresh);
}
