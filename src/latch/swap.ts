/** Files to swap to: their blocks do not move as long as they are, so the swapper writes to them past the filesystem. */
import type { MmFile } from '../mm/address-space.js';
import { filemap_write_and_wait_range } from '../mm/filemap-wait.js';
import { invalidate_inode_pages2_range } from '../mm/invalidate.js';
import { add_swap_extent, type SwapInfo } from '../mm/swap-info.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { endOf } from './extents.js';
import { BLOCK_SIZE } from './format/layout.js';
import { LatchInode } from './inode.js';

/**
 * ->swap_activate (iomap_swapfile_activate): all of the file must have blocks, preallocated ones included. i_rwsem is held exclusively.
 * @returns extents added
 * @throws EINVAL for a hole
 */
export async function latch_swap_activate(task: Task, sis: SwapInfo, file: MmFile): Promise<number> {
  const mapping = file.f_mapping;
  const { host: inode } = mapping;
  if (!(inode instanceof LatchInode)) throw errno('EINVAL');
  // What is cached of it must never be written over what the swapper writes.
  await filemap_write_and_wait_range(task, mapping, 0, Number.MAX_SAFE_INTEGER);
  await invalidate_inode_pages2_range(task, mapping, 0, Number.MAX_SAFE_INTEGER);
  const blocks = Math.floor(inode.i_size / BLOCK_SIZE);
  let added = 0;
  for (let block = 0; block < blocks; ) {
    const extent = await inode.extents.find(task, block);
    if (extent === undefined) throw errno('EINVAL', `block ${block} of the swap file is a hole`);
    const end = Math.min(endOf(extent), blocks);
    added += add_swap_extent(sis, block, end - block, extent.physical + block - extent.logical);
    block = end;
  }
  return added;
}
