/** Mapping blocks of a file: taking blocks of the device for a hole, and saying that preallocated ones were written. */
import { SECTOR_SIZE, submit_bio_wait } from '../block/bio.js';
import { mark_inode_dirty } from '../fs/icache.js';
import { I_DIRTY_SYNC } from '../fs/inode.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { endOf } from './extents.js';
import type { Extent } from './format/inode.js';
import { BLOCK_SIZE } from './format/layout.js';
import { CREDITS, infoOf, with_handle } from './info.js';
import type { LatchInode } from './inode.js';
import type { Handle } from './journal/types.js';

export const SECTORS = BLOCK_SIZE / SECTOR_SIZE;

/** A hole of a file, in blocks. */
export interface Hole {
  readonly logical: number;
  readonly length: number;
}

/**
 * Map the beginning of a hole to fresh blocks that read as zeroes, behind those of the block before it where they are free. The caller marks the inode
 * dirty.
 * @returns how many blocks were mapped, at least one
 * @throws ENOSPC: then nothing was
 */
export async function mapRun(task: Task, handle: Handle, inode: LatchInode, hole: Hole): Promise<number> {
  const { alloc } = infoOf(inode.i_sb);
  const { logical } = hole;
  const before = logical > 0 ? await inode.extents.find(task, logical - 1) : undefined;
  const goal = before === undefined ? undefined : before.physical + (logical - before.logical);
  const { start, length } = await alloc.allocate(task, handle, hole.length, goal);
  try {
    await inode.extents.insert(task, handle, { logical, physical: start, length, unwritten: true });
  } catch (error) {
    await alloc.free(task, handle, start, length);
    throw error;
  }
  inode.i_blocks += length * SECTORS;
  return length;
}

/**
 * Blocks `start` to `end` exclusive of a preallocated extent are being written. Where the device has no block left for the tree to remember which,
 * the rest of the extent is written too, with zeroes.
 * @throws EIO
 */
export function markWritten(task: Task, inode: LatchInode, start: number, end: number): Awaitable<void> {
  return with_handle(task, infoOf(inode.i_sb), (handle) => markIn(task, handle, inode, start, end));
}

async function markIn(task: Task, handle: Handle, inode: LatchInode, start: number, end: number): Promise<void> {
  for (let from = start; ; ) {
    try {
      from = await inode.extents.mark(task, handle, from, end, false);
    } catch (error) {
      if (!isErrno(error, 'ENOSPC')) throw error;
      from = await writeZeroes(task, handle, inode, from, end);
    }
    await mark_inode_dirty(task, inode, I_DIRTY_SYNC);
    if (from >= end) return;
    await handle.restart(task, CREDITS);
  }
}

/** Zero what lies around blocks `start` to `end` in the first preallocated extent there, and call all of that written: no extent is split. */
async function writeZeroes(task: Task, handle: Handle, inode: LatchInode, start: number, end: number): Promise<number> {
  const { extents } = inode;
  let extent: Extent | undefined = await extents.next(task, start);
  while (extent !== undefined && !extent.unwritten && extent.logical < end) {
    extent = await extents.next(task, endOf(extent));
  }
  if (extent === undefined || extent.logical >= end) return end;
  await zeroBlocks(task, inode, extent, extent.logical, Math.max(extent.logical, start));
  await zeroBlocks(task, inode, extent, Math.min(end, endOf(extent)), endOf(extent));
  await extents.mark(task, handle, extent.logical, endOf(extent), false);
  return Math.min(end, endOf(extent));
}

function zeroBlocks(task: Task, inode: LatchInode, extent: Extent, from: number, to: number): Awaitable<void> {
  if (to <= from) return undefined;
  const sector = (extent.physical + from - extent.logical) * SECTORS;
  const length = (to - from) * BLOCK_SIZE;
  return andThen(
    submit_bio_wait(task, infoOf(inode.i_sb).bdev, { op: 'write_zeroes', sector, vecs: [], length }),
    () => undefined,
  );
}
