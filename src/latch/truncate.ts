/** Taking blocks away from a file together with the pages over them, and fallocate. Under invalidate_lock, so that nothing loads what goes. */

import { file_remove_suid } from '../fs/attr-privs.js';
import {
  FALLOC_FL_COLLAPSE_RANGE,
  FALLOC_FL_INSERT_RANGE,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
} from '../fs/fallocate.js';
import type { File } from '../fs/file.js';
import { mark_inode_dirty } from '../fs/icache.js';
import { I_DIRTY_SYNC } from '../fs/inode.js';
import { file_update_time } from '../fs/time.js';
import type { Exclusive } from '../locking/held.js';
import { PAGE_SIZE } from '../mm/folio.js';
import { filemap_write_and_wait_range } from '../mm/page-writeback.js';
import { truncate_inode_pages_range } from '../mm/truncate.js';
import { zero_partial_folio } from '../mm/zero-edge.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { MAX_LOGICAL, type ShiftRest } from './extents.js';
import type { Extent } from './format/inode.js';
import { BLOCK_SIZE } from './format/layout.js';
import { CREDITS, infoOf, with_handle } from './info.js';
import { type LatchInode, latchInode } from './inode.js';
import type { Handle } from './journal/types.js';
import { mapRun } from './map.js';

/**
 * Free the blocks of a range of a file, in as many transactions as it takes.
 * @param end exclusive
 * @throws ENOSPC where a hole in the middle takes a node of the tree; EIO
 */
export async function freeBlocks(
  task: Task,
  handle: Handle,
  inode: LatchInode,
  start: number,
  end: number,
): Promise<void> {
  const { alloc } = infoOf(inode.i_sb);
  const { extents } = inode;
  const freed = (piece: Extent): Promise<void> => {
    inode.i_blocks -= piece.length * 8;
    return alloc.free(task, handle, piece.physical, piece.length);
  };
  for (let to = end; ; ) {
    to = await extents.remove(task, handle, start, to, freed);
    await mark_inode_dirty(task, inode, I_DIRTY_SYNC);
    if (to <= start) return;
    await handle.restart(task, CREDITS);
  }
}

/** Make a file as long as that (truncate). With i_rwsem held exclusively; takes invalidate_lock. */
export async function setSize(task: Task, inode: LatchInode, size: number): Promise<void> {
  const old = inode.i_size;
  if (size === old) return;
  using held = await inode.i_mapping.invalidate_lock.write(task);
  if (size > old) {
    // What lies behind the old end in its last page must read as zeroes from now on.
    await zeroRange(task, inode, old, Math.min(size, roundUp(old)), held);
    inode.i_size = size;
    return;
  }
  await zeroEdge(task, inode, size, Math.min(old, roundUp(size)), held);
  inode.i_size = size;
  await truncate_inode_pages_range(task, inode.i_mapping, size, Number.MAX_SAFE_INTEGER, held);
  await with_handle(task, infoOf(inode.i_sb), (handle) =>
    freeBlocks(task, handle, inode, Math.ceil(size / BLOCK_SIZE), MAX_LOGICAL),
  );
}

function roundUp(pos: number): number {
  return Math.ceil(pos / PAGE_SIZE) * PAGE_SIZE;
}

/** Zero bytes `start` to `end` exclusive in the page cache. */
async function zeroRange(
  task: Task,
  inode: LatchInode,
  start: number,
  end: number,
  held: Exclusive<'invalidate_lock'>,
): Promise<void> {
  if (end <= start) return;
  await zeroEdge(task, inode, start, Math.min(end, roundUp(start)), held);
  const tail = Math.max(roundUp(start), end - (end % PAGE_SIZE));
  await zeroEdge(task, inode, tail, end, held);
  await truncate_inode_pages_range(task, inode.i_mapping, start, end - 1, held);
}

/** Zero a part of one page that is on the device. */
async function zeroEdge(
  task: Task,
  inode: LatchInode,
  from: number,
  to: number,
  held: Exclusive<'invalidate_lock'>,
): Promise<void> {
  if (to <= from) return;
  const extent = await inode.extents.find(task, Math.floor(from / BLOCK_SIZE));
  if (extent === undefined || extent.unwritten) return;
  await zero_partial_folio(task, inode.i_mapping, from, to, held);
}

/** Map the holes of a range to fresh blocks that read as zeroes. @throws ENOSPC, with what was mapped so far */
async function preallocate(task: Task, handle: Handle, inode: LatchInode, start: number, end: number): Promise<void> {
  for (let block = start; block < end; ) {
    const extent = await inode.extents.next(task, block);
    if (extent !== undefined && extent.logical <= block) {
      block = extent.logical + extent.length;
      continue;
    }
    const hole = Math.min(end, extent?.logical ?? end) - block;
    block += await mapRun(task, handle, inode, { logical: block, length: hole });
    await mark_inode_dirty(task, inode, I_DIRTY_SYNC);
    if (handle.credits < CREDITS / 2) await handle.restart(task, CREDITS);
  }
}

/** ->fallocate. Takes i_rwsem and invalidate_lock exclusively. @throws ENOSPC EINVAL */
export async function latch_fallocate(
  task: Task,
  file: File,
  mode: number,
  offset: number,
  length: number,
): Promise<void> {
  const inode = latchInode(file.f_inode);
  using _rwsem = await inode.i_rwsem.write(task);
  await file_remove_suid(task, file.f_dentry, inode);
  using held = await inode.i_mapping.invalidate_lock.write(task);
  const info = infoOf(inode.i_sb);
  const end = offset + length;
  const first = Math.ceil(offset / BLOCK_SIZE);
  const last = Math.floor(end / BLOCK_SIZE);
  const keep = (mode & FALLOC_FL_KEEP_SIZE) !== 0;
  const kind = mode & ~FALLOC_FL_KEEP_SIZE;
  if (kind === FALLOC_FL_COLLAPSE_RANGE || kind === FALLOC_FL_INSERT_RANGE) {
    await moveRange(task, inode, kind, offset, length, held);
  } else if (kind === FALLOC_FL_PUNCH_HOLE) {
    await zeroRange(task, inode, offset, Math.min(end, roundUp(inode.i_size)), held);
    if (last > first) await with_handle(task, info, (handle) => freeBlocks(task, handle, inode, first, last));
  } else {
    if (kind === FALLOC_FL_ZERO_RANGE) {
      await zeroRange(task, inode, offset, Math.min(end, roundUp(inode.i_size)), held);
      if (last > first) await with_handle(task, info, (handle) => freeBlocks(task, handle, inode, first, last));
    }
    if (end > inode.i_size) await zeroRange(task, inode, inode.i_size, Math.min(end, roundUp(inode.i_size)), held);
    await with_handle(task, info, (handle) =>
      preallocate(task, handle, inode, Math.floor(offset / BLOCK_SIZE), Math.ceil(end / BLOCK_SIZE)),
    );
    if (!keep && end > inode.i_size) inode.i_size = end;
  }
  await file_update_time(task, inode);
  await mark_inode_dirty(task, inode, I_DIRTY_SYNC);
}

/** Take a range out of a file, or push one in. Both in whole blocks and inside the file. */
async function moveRange(
  task: Task,
  inode: LatchInode,
  kind: number,
  offset: number,
  length: number,
  held: Exclusive<'invalidate_lock'>,
): Promise<void> {
  const size = inode.i_size;
  if (offset % BLOCK_SIZE !== 0 || length % BLOCK_SIZE !== 0) throw errno('EINVAL');
  if (offset >= size || (kind === FALLOC_FL_COLLAPSE_RANGE && offset + length >= size)) throw errno('EINVAL');
  if (kind === FALLOC_FL_INSERT_RANGE && size + length > inode.i_sb.s_maxbytes) throw errno('EFBIG');
  await filemap_write_and_wait_range(task, inode.i_mapping, offset, Number.MAX_SAFE_INTEGER);
  await truncate_inode_pages_range(task, inode.i_mapping, offset, Number.MAX_SAFE_INTEGER, held);
  const at = offset / BLOCK_SIZE;
  const blocks = length / BLOCK_SIZE;
  if (kind === FALLOC_FL_COLLAPSE_RANGE) {
    await with_handle(task, infoOf(inode.i_sb), (handle) => freeBlocks(task, handle, inode, at, at + blocks));
    await shiftExtents(task, inode, at + blocks, -blocks);
    inode.i_size = size - length;
  } else {
    await shiftExtents(task, inode, at, blocks);
    inode.i_size = size + length;
  }
}

/** Move all that is mapped from block `from` on by `by` blocks, in as many transactions as it takes: a crash in between leaves a part of it moved. */
async function shiftExtents(task: Task, inode: LatchInode, from: number, by: number): Promise<void> {
  await with_handle(task, infoOf(inode.i_sb), async (handle) => {
    let rest: ShiftRest | undefined = { from, to: MAX_LOGICAL };
    for (;;) {
      rest = await inode.extents.shift(task, handle, rest.from, rest.to, by);
      await mark_inode_dirty(task, inode, I_DIRTY_SYNC);
      if (rest === undefined) return;
      await handle.restart(task, CREDITS);
    }
  });
}
