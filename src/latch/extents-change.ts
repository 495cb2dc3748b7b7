/** Mapping blocks of a file, unmapping them, and saying whether they are written. All take i_data_sem exclusively. */
import type { Awaitable } from '../sched/awaitable.js';
import { errno, isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { Run } from './alloc.js';
import { endOf, MAX_LOGICAL, part } from './extent-list.js';
import type { ExtentTree, Hole } from './extents.js';
import { replace } from './extents-replace.js';
import type { Extent } from './format/inode.js';
import type { Handle } from './journal/types.js';
import { zeroout } from './zeroout.js';

/**
 * Map a hole.
 * @throws ENOSPC for a node of the tree: nothing has changed; EIO also where something is mapped there
 */
export async function insertExtent(extents: ExtentTree, task: Task, handle: Handle, extent: Extent): Promise<void> {
  using _sem = await extents.lock(task);
  const before = await extents.floor(task, extent.logical);
  const after = await extents.after(task, extent.logical);
  if ((before !== undefined && endOf(before) > extent.logical) || (after?.logical ?? MAX_LOGICAL) < endOf(extent)) {
    throw errno('EIO', `inode ${extents.tree.host.ino}: block ${extent.logical} is to be mapped twice`);
  }
  extents.forget();
  await replace(extents.tree, task, handle, [before, after], [before, extent, after]);
}

/** Where the blocks for a hole come from. */
export interface BlockSource {
  /** @param before the extent before the hole @param length how many blocks are wanted @throws ENOSPC, EDQUOT, EIO */
  allocate(before: Extent | undefined, length: number): Awaitable<Run>;
  /** Take blocks back that cannot be mapped. */
  giveBack(run: Run): Awaitable<void>;
}

/**
 * Map the beginning of a hole to blocks from a source. i_data_sem is held from the look at what is there on until it is mapped: writeback and fallocate may come to the
 * same hole at once.
 * @param unwritten they read as zeroes
 * @returns how many blocks were mapped; 0 where the first one is mapped by now
 * @throws ENOSPC, also what the source throws: nothing has changed; EIO
 */
export async function fillHole(
  extents: ExtentTree,
  task: Task,
  handle: Handle,
  hole: Hole,
  unwritten: boolean,
  source: BlockSource,
): Promise<number> {
  using _sem = await extents.lock(task);
  const before = await extents.floor(task, hole.logical);
  if (before !== undefined && endOf(before) > hole.logical) return 0;
  const after = await extents.after(task, hole.logical);
  const run = await source.allocate(before, Math.min(hole.length, (after?.logical ?? MAX_LOGICAL) - hole.logical));
  const extent = { logical: hole.logical, physical: run.start, length: run.length, unwritten };
  extents.forget();
  try {
    await replace(extents.tree, task, handle, [before, after], [before, extent, after]);
  } catch (error) {
    await source.giveBack(run);
    throw error;
  }
  return run.length;
}

/**
 * Unmap blocks `start` to `end` exclusive, from the end on, for as long as the handle has credits.
 * @param freed called with `given` for each piece that is mapped no longer
 * @returns where it has come to: `start` when all is done, otherwise restart the handle and go on from there
 * @throws ENOSPC where a hole in the middle of an extent takes another node; EIO; what `freed` throws
 */
export async function unmapBlocks<G>(
  extents: ExtentTree,
  task: Task,
  handle: Handle,
  start: number,
  end: number,
  freed: (task: Task, handle: Handle, piece: Extent, given: G) => Awaitable<void>,
  given: G,
): Promise<number> {
  using _sem = await extents.lock(task);
  for (let to = end; to > start; ) {
    const extent = await extents.floor(task, to - 1);
    if (extent === undefined || endOf(extent) <= start) return start;
    to = Math.min(to, endOf(extent));
    if (!extents.affords(handle)) return to;
    const from = Math.max(start, extent.logical);
    const rest = [part(extent, extent.logical, from), part(extent, to, endOf(extent))];
    extents.forget();
    await replace(extents.tree, task, handle, [extent], rest);
    await freed(task, handle, part(extent, from, to), given);
    to = from;
    if (to > start) await task.sched.yield();
  }
  return start;
}

/** How blocks of a file are made to read as zeroes, where more than what was written becomes written. */
export interface Zeroing<G> {
  readonly zero: (task: Task, piece: Extent, given: G) => Awaitable<void>;
  readonly given: G;
}

/**
 * Say of mapped blocks from `start` to `end` exclusive whether they are written, for as long as the handle has credits; holes stay holes.
 * @param zeroing for blocks that become written: where the tree lacks a node, more blocks of their extent are zeroed, and become written as well
 * @returns where it has come to: `end` when all is done
 * @throws ENOSPC where that takes another node; EIO; what zeroing throws
 */
export async function markBlocks<G>(
  extents: ExtentTree,
  task: Task,
  handle: Handle,
  start: number,
  end: number,
  unwritten: boolean,
  zeroing?: Zeroing<G>,
): Promise<number> {
  using _sem = await extents.lock(task);
  for (let from = start; from < end; ) {
    const extent = await extents.reaching(task, from);
    if (extent === undefined || extent.logical >= end) return end;
    const first = Math.max(from, extent.logical);
    const last = Math.min(end, endOf(extent));
    from = last;
    if (extent.unwritten === unwritten) continue;
    if (!extents.affords(handle)) return first;
    // From now on it is found in the tree only, by who gets the lock: also while something is zeroed.
    extents.forget();
    const before = extent.logical === 0 ? undefined : await extents.floor(task, extent.logical - 1);
    const around = [before, extent, await extents.after(task, extent.logical)] as const;
    try {
      await markPart(extents, task, handle, around, first, last);
    } catch (error) {
      if (zeroing === undefined || !isErrno(error, 'ENOSPC')) throw error;
      const { zero, given } = zeroing;
      const change = (low: number, high: number): Awaitable<void> => markPart(extents, task, handle, around, low, high);
      await zeroout(extent, first, last, change, (piece) => zero(task, piece, given));
    }
    if (from < end) await task.sched.yield();
  }
  return end;
}

/** Let blocks `low` to `high` exclusive of an extent be the other of written and unwritten. @param around the extent between its neighbours */
function markPart(
  { tree }: ExtentTree,
  task: Task,
  handle: Handle,
  around: readonly [before: Extent | undefined, extent: Extent, after: Extent | undefined],
  low: number,
  high: number,
): Awaitable<void> {
  const [before, extent, after] = around;
  const marked = { ...part(extent, low, high), unwritten: !extent.unwritten };
  const now = [before, part(extent, extent.logical, low), marked, part(extent, high, endOf(extent)), after];
  return replace(tree, task, handle, around, now);
}
