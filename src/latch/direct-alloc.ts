/**
 * Direct writes that change what is mapped or how long the file is (ext4_dio_write_iter, iomap_dio_rw). What lacks blocks gets preallocated ones, the data goes
 * to the device, and only then are the blocks called written and the file longer: whoever reads meanwhile, or after a crash, sees zeroes and never what the
 * blocks had held for somebody else. i_rwsem is held exclusively from before the first step to behind the last; shared where all is mapped already, and the file long enough.
 */
import { inode_dio_begin, inode_dio_end } from '../fs/dio-count.js';
import { i_size_write } from '../fs/inode.js';
import { GUARDED, guard_write } from '../locking/guarded.js';
import type { IovIter } from '../mm/iov-iter.js';
import { pagecache_isize_extended } from '../mm/truncate.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { Errno, errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { initQuota } from './charge.js';
import { convert_unwritten } from './convert.js';
import { endOf } from './extent-list.js';
import type { Hole } from './extents.js';
import type { Extent } from './format/inode.js';
import { BLOCK_SIZE } from './format/layout.js';
import { infoOf, with_handle } from './info.js';
import type { LatchInode } from './inode.js';
import { writeInode } from './inode-disk.js';
import { preallocate } from './map.js';
import { gather, reach, sectorOf, type Transfer, transferNow } from './transfer.js';
import { freeBlocks } from './truncate.js';
import { zeroEof } from './zero-eof.js';

/**
 * Write bytes `pos` to `end` exclusive, whole sectors. The file is on the orphan list while it has blocks behind its end: a crash gives them back.
 * @param out what overwrites stored bytes, and was taken from the iterator already
 * @returns bytes
 * @throws ENOSPC EDQUOT EIO EROFS: the size stays, and blocks that were mapped behind it are given back (ext4_truncate_failed_write); what was mapped inside
 * the file stays preallocated
 */
export async function dio_write(
  task: Task,
  inode: LatchInode,
  pos: number,
  end: number,
  iter: IovIter,
  out: Transfer,
): Promise<number> {
  const info = infoOf(inode.i_sb);
  const old = inode.i_size;
  if (end > old || end > inode.i_disksize) guard_write(task, GUARDED.dio_blocks, inode.i_rwsem);
  // One that stands there already, because it has no name or a truncation has failed, stays.
  const joins = end > old && !info.orphans.has(inode);
  await initQuota(task, inode);
  if (pos > old) await zeroEof(task, inode, pos);
  const first = Math.floor((pos + out.total) / BLOCK_SIZE);
  const range = { logical: first, length: Math.ceil(end / BLOCK_SIZE) - first };
  const mapped: Hole[] = [];
  try {
    inode_dio_begin(inode);
    try {
      await mapHoles(task, inode, range, joins, mapped);
      using writing = inode.extents.unconverted.begin(first, first + range.length, task);
      await gatherRest(task, inode, pos + out.total, end, iter, out);
      await transferNow(task, info.bdev, out);
      writing.land();
      await finish(task, inode, range, end, joins);
    } finally {
      inode_dio_end(inode);
    }
  } catch (error) {
    await undo(task, inode, mapped, joins);
    throw error;
  }
  if (pos > old) await pagecache_isize_extended(task, inode.i_mapping, old, pos);
  return out.total;
}

/** Holes of a range get preallocated blocks, all of them or ENOSPC. @param joins the orphan list, because the file will be longer @param mapped gets what was mapped */
async function mapHoles(task: Task, inode: LatchInode, range: Hole, joins: boolean, mapped: Hole[]): Promise<void> {
  const { alloc, journal, orphans } = infoOf(inode.i_sb);
  let room = await missing(task, inode, range);
  if (room === 0) return;
  guard_write(task, GUARDED.dio_blocks, inode.i_rwsem);
  // What was promised to pages is not taken from them.
  if (!alloc.promises.reserve(room)) {
    if (alloc.pending === 0) throw errno('ENOSPC');
    await journal.force_commit(task);
    if (!alloc.promises.reserve(room)) throw errno('ENOSPC');
  }
  try {
    await preallocate(task, inode, range, {
      promised: true,
      begin: (handle) => (joins ? orphans.add(task, handle, inode) : undefined),
      mapped: (blocks) => {
        mapped.push(blocks);
        alloc.promises.unreserve(blocks.length);
        room -= blocks.length;
      },
    });
  } finally {
    alloc.promises.unreserve(room);
  }
}

/** How many blocks of a range are not mapped. @throws EIO */
function missing(task: Task, inode: LatchInode, { logical, length }: Hole): Awaitable<number> {
  const missing = { logical, end: logical + length, count: length };
  return andThen(inode.extents.iterate(task, logical, lessMapped, missing), countOf, missing);
}

interface Missing {
  readonly logical: number;
  /** Exclusive. */
  readonly end: number;
  count: number;
}

function lessMapped(extent: Extent, missing: Missing): boolean {
  missing.count -= Math.max(0, Math.min(missing.end, endOf(extent)) - Math.max(missing.logical, extent.logical));
  return endOf(extent) < missing.end;
}

function countOf(_ended: boolean, { count }: Missing): number {
  return count;
}

/** Find where bytes `start` to `end` exclusive go. Of a block that was never written the other sectors are zeroed as well (iomap_dio_zero). */
function gatherRest(
  task: Task,
  inode: LatchInode,
  start: number,
  end: number,
  iter: IovIter,
  out: Transfer,
): Awaitable<void> {
  const take = (extent: Extent | undefined, at: number): number => {
    if (extent === undefined) throw errno('EIO', `byte ${at} of inode ${inode.i_ino} has lost its block`);
    const bytes = iter.take(Math.min(end - at, reach(extent, at)));
    const before = extent.unwritten ? at % BLOCK_SIZE : 0;
    const behind = extent.unwritten ? -(at + bytes.length) & (BLOCK_SIZE - 1) : 0;
    const vecs = [Buffer.alloc(before), bytes, Buffer.alloc(behind)].filter(({ length }) => length > 0);
    out.pieces.push({ sector: sectorOf(extent, at - before), vecs });
    out.total += bytes.length;
    return at + bytes.length;
  };
  return gather(task, inode, start, end, take);
}

/** The data are on the device: the blocks of the range are written, and the file reaches at least to byte `end` exclusive (ext4_dio_write_end_io). */
function finish(task: Task, inode: LatchInode, range: Hole, end: number, joined: boolean): Promise<void> {
  const { orphans } = infoOf(inode.i_sb);
  const blocks = { start: range.logical, end: range.logical + range.length };
  return convert_unwritten(task, inode, [blocks], (handle) => {
    if (end > inode.i_size) i_size_write(task, inode, end);
    if (end > inode.i_disksize) inode.i_disksize = end;
    return joined ? orphans.del(task, handle, inode) : undefined;
  });
}

/** Nothing was written behind the end of the file: what was mapped there is not kept. Where that fails, the next mount finds the file among the orphans. */
async function undo(task: Task, inode: LatchInode, mapped: readonly Hole[], joined: boolean): Promise<void> {
  const info = infoOf(inode.i_sb);
  const first = Math.ceil(inode.i_size / BLOCK_SIZE);
  const behind = mapped.filter(({ logical, length }) => logical + length > first);
  if (behind.length === 0 && !joined) return;
  using _held = await inode.i_mapping.invalidate_lock.write(task);
  try {
    await with_handle(task, info, async (handle) => {
      for (const { logical, length } of behind.toReversed()) {
        await freeBlocks(task, handle, inode, Math.max(first, logical), logical + length);
      }
      if (joined) await info.orphans.del(task, handle, inode);
      await writeInode(task, handle, info, inode);
    });
  } catch (error) {
    if (!(error instanceof Errno)) throw error;
  }
}
