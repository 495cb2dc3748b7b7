/** Taking blocks away from a file together with the pages over them, and fallocate. Under invalidate_lock, so that nothing loads what goes. */

import type { BlockDevice } from '../block/block-device.js';
import { sb_find_get_block } from '../block/buffer-cache.js';
import { vmtruncate } from '../fs/attr.js';
import { file_remove_suid } from '../fs/attr-privs.js';
import { check_no_dio, inode_dio_wait } from '../fs/dio-count.js';
import type { File } from '../fs/file.js';
import { type Inode, i_size_write } from '../fs/inode.js';
import { file_update_time } from '../fs/time.js';
import { GUARDED, guard_write } from '../locking/guarded.js';
import type { Exclusive } from '../locking/held.js';
import { filemap_write_and_wait_range } from '../mm/filemap-wait.js';
import { PAGE_SIZE } from '../mm/folio.js';
import { truncate_inode_pages_range } from '../mm/truncate.js';
import { zero_partial_folio, zero_waiting_folio } from '../mm/zero-edge.js';
import type { Awaitable } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import {
  FALLOC_FL_COLLAPSE_RANGE,
  FALLOC_FL_INSERT_RANGE,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
} from '../uapi/falloc.js';
import { S_IFMT, S_IFREG } from '../uapi/stat.js';
import { ALLOC_CREDITS } from './alloc.js';
import { giveBlocks, initQuota } from './charge.js';
import { note_cut_to_nothing } from './da-alloc.js';
import { MAX_LOGICAL } from './extent-list.js';
import { unmapBlocks } from './extents-change.js';
import { type ShiftRest, shiftBlocks } from './extents-shift.js';
import type { Extent } from './format/inode.js';
import { BLOCK_SIZE } from './format/layout.js';
import { CREDITS, infoOf, with_handle } from './info.js';
import { type LatchInode, latchInode } from './inode.js';
import { writeInode } from './inode-disk.js';
import type { Handle } from './journal/types.js';
import { preallocate } from './map.js';

/** A block of metadata was freed: its buffer, or what the log may say of it, is void. Costs a credit now and then. @throws EROFS */
export function forgetBlock(task: Task, handle: Handle, bdev: BlockDevice, block: number): void {
  const bh = sb_find_get_block(bdev, block);
  if (bh === undefined) handle.revoke(task, block);
  else handle.forget(task, bh);
}

/**
 * Free the blocks of a range of a file, and put the inode into its buffer. Where that is too much for one transaction the handle is restarted: what was
 * begun must be on the orphan list then, or do no harm half done.
 * @param end exclusive
 * @throws ENOSPC where a hole in the middle takes a node of the tree; EIO EROFS
 */
export async function freeBlocks(
  task: Task,
  handle: Handle,
  inode: LatchInode,
  start: number,
  end: number,
): Promise<void> {
  const info = infoOf(inode.i_sb);
  check_no_dio(task, inode);
  await initQuota(task, inode);
  for (let to = end; ; ) {
    try {
      to = await unmapBlocks(inode.extents, task, handle, start, to, freed, inode);
    } finally {
      await writeInode(task, handle, info, inode);
    }
    if (to <= start) return;
    await handle.restart(task, Math.min(CREDITS, info.journal.maxCredits));
  }
}

/** A piece of a file is mapped no longer. */
function freed(task: Task, handle: Handle, { physical, length }: Extent, inode: LatchInode): Awaitable<void> {
  const { bdev } = infoOf(inode.i_sb);
  // What a symlink has is in the journal.
  const metadata = (inode.i_mode & S_IFMT) !== S_IFREG;
  if (metadata) for (let i = 0; i < length; i++) forgetBlock(task, handle, bdev, physical + i);
  if (handle.credits < ALLOC_CREDITS) handle.extend(ALLOC_CREDITS);
  return giveBlocks(task, handle, inode, { start: physical, length });
}

/** Make a file as long as that (truncate). With i_rwsem held exclusively; takes invalidate_lock. @throws EIO */
export async function setSize(task: Task, inode: LatchInode, size: number): Promise<void> {
  if (size === 0) note_cut_to_nothing(inode);
  if (size === inode.i_size) return;
  await inode_dio_wait(task, inode);
  using held = await inode.i_mapping.invalidate_lock.write(task);
  await resize(task, inode, size, held);
}

/** As setSize, with invalidate_lock held. @throws EIO */
export async function resize(
  task: Task,
  inode: LatchInode,
  size: number,
  held: Exclusive<'invalidate_lock'>,
): Promise<void> {
  const old = inode.i_size;
  const edge = Math.min(old, size);
  // What lies behind the end in its page must read as zeroes from now on, also if all that follows is lost: it is on the device before the size is.
  if (await zeroEdge(task, inode, edge, Math.min(Math.max(old, size), roundUp(edge)), held)) {
    await filemap_write_and_wait_range(task, inode.i_mapping, edge, roundUp(edge) - 1);
  }
  const info = infoOf(inode.i_sb);
  const first = Math.ceil(size / BLOCK_SIZE);
  const shrinks = size < old && (await inode.extents.next(task, first)) !== undefined;
  await with_handle(task, info, async (handle) => {
    i_size_write(task, inode, size);
    inode.i_disksize = size;
    // All that lies behind goes.
    if (size < old) inode.eofEnd = 0;
    if (shrinks) await info.orphans.add(task, handle, inode);
    else await writeInode(task, handle, info, inode);
  });
  if (size > old) {
    await zeroRange(task, inode, old, Math.min(size, roundUp(old)), held);
    return;
  }
  await vmtruncate(task, inode, held);
}

/** ->truncate: free the blocks behind the end of a file (ext4_truncate). With i_rwsem held exclusively. @throws EIO EROFS */
export async function latch_truncate(task: Task, given: Inode): Promise<void> {
  const inode = latchInode(given);
  guard_write(task, GUARDED.i_size, inode.i_rwsem);
  const info = infoOf(inode.i_sb);
  const first = Math.ceil(inode.i_size / BLOCK_SIZE);
  // Pages that were being written when they went may have got blocks meanwhile.
  if (!info.orphans.has(inode) && (await inode.extents.next(task, first)) === undefined) return;
  await with_handle(task, info, async (handle) => {
    await info.orphans.add(task, handle, inode);
    await freeBlocks(task, handle, inode, first, MAX_LOGICAL);
    // One without a name stays there until it is deleted.
    if (inode.i_nlink > 0) await info.orphans.del(task, handle, inode);
    await writeInode(task, handle, info, inode);
  });
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

/** Zero a part of one page that is on the device. @returns whether it is there */
export async function zeroEdge(
  task: Task,
  inode: LatchInode,
  from: number,
  to: number,
  held: Exclusive<'invalidate_lock'>,
): Promise<boolean> {
  if (to <= from) return false;
  // Whatever becomes of a page that waits to be written, these bytes are zeroes; and one that is being written has its block written afterwards.
  await zero_waiting_folio(task, inode.i_mapping, from, to);
  const extent = await inode.extents.find(task, Math.floor(from / BLOCK_SIZE));
  if (extent === undefined || extent.unwritten) return false;
  await zero_partial_folio(task, inode.i_mapping, from, to, held);
  return true;
}

/**
 * Bytes of a file from now on read as zeroes, and what blocks lie wholly among them are free. With i_rwsem held exclusively.
 * @param end exclusive
 * @throws ENOSPC EIO EROFS
 */
export async function punch(
  task: Task,
  inode: LatchInode,
  offset: number,
  end: number,
  held: Exclusive<'invalidate_lock'>,
): Promise<void> {
  const [first, last] = [Math.ceil(offset / BLOCK_SIZE), Math.floor(end / BLOCK_SIZE)];
  const info = infoOf(inode.i_sb);
  // The pages that would have brought the size to the device may go now, unwritten (ext4_update_disksize_before_punch).
  if (end >= inode.i_size) inode.i_disksize = inode.i_size;
  await zeroRange(task, inode, offset, Math.min(end, roundUp(inode.i_size)), held);
  await with_handle(task, info, (handle) =>
    last > first ? freeBlocks(task, handle, inode, first, last) : writeInode(task, handle, info, inode),
  );
}

/** ->fallocate. Takes i_rwsem and invalidate_lock exclusively. @throws ENOSPC EDQUOT EINVAL */
export async function latch_fallocate(
  task: Task,
  file: File,
  mode: number,
  offset: number,
  length: number,
): Promise<void> {
  const inode = latchInode(file.f_inode);
  using _rwsem = await inode.i_rwsem.write(task);
  await inode_dio_wait(task, inode);
  await file_remove_suid(task, file.f_dentry, inode);
  using held = await inode.i_mapping.invalidate_lock.write(task);
  await initQuota(task, inode);
  const info = infoOf(inode.i_sb);
  const end = offset + length;
  const keep = (mode & FALLOC_FL_KEEP_SIZE) !== 0;
  const kind = mode & ~FALLOC_FL_KEEP_SIZE;
  if (kind === FALLOC_FL_COLLAPSE_RANGE || kind === FALLOC_FL_INSERT_RANGE) {
    await moveRange(task, inode, kind, offset, length, held);
  } else if (kind === FALLOC_FL_PUNCH_HOLE) {
    await punch(task, inode, offset, end, held);
  } else {
    if (kind === FALLOC_FL_ZERO_RANGE) await punch(task, inode, offset, end, held);
    const old = inode.i_size;
    if (end > old && !keep && (await zeroEdge(task, inode, old, Math.min(end, roundUp(old)), held))) {
      await filemap_write_and_wait_range(task, inode.i_mapping, old, roundUp(old) - 1);
    }
    const range = {
      logical: Math.floor(offset / BLOCK_SIZE),
      length: Math.ceil(end / BLOCK_SIZE) - Math.floor(offset / BLOCK_SIZE),
    };
    // Pages that were promised blocks there get them now: the promises would be counted beside the blocks until they are written back.
    if (inode.delayed > 0) await filemap_write_and_wait_range(task, inode.i_mapping, offset, end - 1);
    // From now on what lies behind the end may be what was asked for here.
    if (keep) inode.eofEnd = 0;
    await preallocate(task, inode, range);
    if (!keep && end > inode.i_size) {
      i_size_write(task, inode, end);
      inode.i_disksize = end;
    }
  }
  await file_update_time(task, inode);
  await with_handle(task, info, (handle) => writeInode(task, handle, info, inode));
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
  const info = infoOf(inode.i_sb);
  const sign = kind === FALLOC_FL_COLLAPSE_RANGE ? -1 : 1;
  if (kind === FALLOC_FL_COLLAPSE_RANGE) {
    // A hole first; then all moves up.
    await with_handle(task, info, (handle) => freeBlocks(task, handle, inode, at, at + blocks));
  }
  await shiftExtents(task, inode, kind === FALLOC_FL_COLLAPSE_RANGE ? at + blocks : at, sign * blocks);
  await with_handle(task, info, (handle) => {
    i_size_write(task, inode, size + sign * length);
    inode.i_disksize = inode.i_size;
    return writeInode(task, handle, info, inode);
  });
}

/** Move all that is mapped from block `from` on by `by` blocks, in as many transactions as it takes: a crash in between leaves a part of it moved. */
async function shiftExtents(task: Task, inode: LatchInode, from: number, by: number): Promise<void> {
  const info = infoOf(inode.i_sb);
  await with_handle(task, info, async (handle) => {
    let rest: ShiftRest | undefined = { from, to: MAX_LOGICAL };
    for (;;) {
      try {
        rest = await shiftBlocks(inode.extents, task, handle, rest.from, rest.to, by);
      } finally {
        await writeInode(task, handle, info, inode);
      }
      if (rest === undefined) return;
      await handle.restart(task, Math.min(CREDITS, info.journal.maxCredits));
    }
  });
}
