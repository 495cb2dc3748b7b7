/**
 * Files to swap to: their blocks do not move as long as they are. Of a file in few pieces the swapper is told where these are, and goes to the device past the
 * filesystem. A file in many pieces is swapped to through it (SWP_FS_OPS): its tree of extents is in memory then, whole, so that finding a block neither
 * allocates nor reads anything.
 */
import { brelse } from '../block/buffer.js';
import type { BufferHead } from '../block/buffer-head.js';
import type { MmFile } from '../mm/address-space.js';
import { filemap_write_and_wait_range } from '../mm/filemap-wait.js';
import { invalidate_inode_pages2_range } from '../mm/invalidate.js';
import { add_swap_extent, SWP_FS_OPS, type SwapInfo } from '../mm/swap-info.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { hostOf } from './delayed.js';
import { endOf } from './extent-list.js';
import type { Extent } from './format/inode.js';
import { BLOCK_SIZE } from './format/layout.js';
import type { LatchInode } from './inode.js';

/** The nodes of the trees of swap files. */
const pinned = new WeakMap<LatchInode, readonly BufferHead[]>();

/**
 * ->swap_activate (iomap_swapfile_activate): all of the file must have blocks, preallocated ones included. i_rwsem is held exclusively.
 * @returns extents added
 * @throws EINVAL for a hole; EIO
 */
export async function latch_swap_activate(task: Task, sis: SwapInfo, file: MmFile): Promise<number> {
  const mapping = file.f_mapping;
  const inode = hostOf(mapping);
  // What is cached of it must never be written over what the swapper writes.
  await filemap_write_and_wait_range(task, mapping, 0, Number.MAX_SAFE_INTEGER);
  await invalidate_inode_pages2_range(task, mapping, 0, Number.MAX_SAFE_INTEGER);
  const blocks = Math.floor(inode.i_size / BLOCK_SIZE);
  const { extents } = inode;
  const many = extents.tree.root.level > 0;
  let added = 0;
  for (let block = 0; block < blocks; ) {
    const extent: Extent | undefined = await extents.find(task, block);
    if (extent === undefined) throw errno('EINVAL', `block ${block} of the swap file is a hole`);
    const end = Math.min(endOf(extent), blocks);
    if (!many) added += add_swap_extent(sis, block, end - block, extent.physical + block - extent.logical);
    block = end;
  }
  if (!many) return added;
  pinned.set(inode, await extents.pin(task));
  sis.flags |= SWP_FS_OPS;
  // To the swapper it is one piece.
  return add_swap_extent(sis, 0, blocks, 0);
}

/** ->swap_deactivate: the nodes of its tree may leave memory again. */
export function latch_swap_deactivate(_task: Task, file: MmFile): void {
  const inode = hostOf(file.f_mapping);
  for (const bh of pinned.get(inode) ?? []) brelse(bh);
  pinned.delete(inode);
}
