/** Where a file's blocks are on the device, for FS_IOC_FIEMAP. */

import { fiemap_fill_next_extent, fiemap_prep } from '../fs/fiemap.js';
import type { Inode } from '../fs/inode.js';
import type { FiemapInfo } from '../fs/types.js';
import type { Task } from '../sched/task.js';
import { FIEMAP_EXTENT_LAST, FIEMAP_EXTENT_UNWRITTEN } from '../uapi/fiemap.js';
import type { Extent } from './format/inode.js';
import { BLOCK_SIZE } from './format/layout.js';
import { latchInode } from './inode.js';

function report(info: FiemapInfo, extent: Extent, flags: number): boolean {
  const { logical, physical, length, unwritten } = extent;
  const all = flags | (unwritten ? FIEMAP_EXTENT_UNWRITTEN : 0);
  return fiemap_fill_next_extent(info, logical * BLOCK_SIZE, physical * BLOCK_SIZE, length * BLOCK_SIZE, all);
}

/**
 * ->fiemap: the extents that touch bytes `start` to `start + length`. What is dirty and has no block yet is not among them, unless FIEMAP_FLAG_SYNC was given.
 * @throws EINVAL EFBIG EBADR EIO
 */
export async function latch_fiemap(
  task: Task,
  given: Inode,
  info: FiemapInfo,
  start: number,
  length: number,
): Promise<void> {
  const inode = latchInode(given);
  const end = start + (await fiemap_prep(task, inode, info, start, length, 0));
  // An extent is reported when the next is known: the last of the file is told from the others.
  let pending: Extent | undefined;
  let beyond = false;
  await inode.extents.iterate(task, Math.floor(start / BLOCK_SIZE), (extent) => {
    if (pending !== undefined && report(info, pending, 0)) {
      pending = undefined;
      return false;
    }
    beyond = extent.logical * BLOCK_SIZE >= end;
    pending = beyond ? undefined : extent;
    return !beyond;
  });
  if (pending !== undefined) report(info, pending, FIEMAP_EXTENT_LAST);
}
