/** FITRIM: telling the device which blocks hold nothing (ext4_trim_fs). */
import { blkdev_issue_discard, SECTOR_SIZE } from '../block/bio.js';
import { brelse } from '../block/buffer.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { clearRun, firstClear } from './bitmap.js';
import { emptyBitmap } from './format/group.js';
import { BLOCK_BITMAP, BLOCK_SIZE, GROUP_BLOCKS, GROUP_HEAD } from './format/layout.js';
import { type Group, groupOf } from './groups.js';
import type { LatchInfo } from './info.js';

/** Blocks that are discarded at once: whoever wants blocks meanwhile waits. */
const CHUNK = 2048;

/** struct fstrim_range, bytes. */
export interface FstrimRange {
  readonly start: number;
  readonly len: number;
  /** Runs of free blocks that are shorter stay as they are. */
  readonly minlen: number;
}

/**
 * Discard what is free in a range of the device. Blocks that a transaction has freed which is not committed are not free yet; a group that nobody has freed
 * anything in since it was trimmed is passed over. Takes alloc_lock.
 * @returns bytes discarded
 * @throws EPERM without CAP_SYS_ADMIN; EOPNOTSUPP where the device cannot discard; EROFS where it is not to be written; EINVAL for a range that begins behind
 * the end or is shorter than a block, and for a minlen above a group; EINTR by a signal; EIO, also where the filesystem is shut down
 */
export async function latch_trim_fs(task: Task, info: LatchInfo, range: FstrimRange): Promise<number> {
  const { bdev, super: disk, groups } = info;
  if (!task.cred.capable('CAP_SYS_ADMIN')) throw errno('EPERM');
  info.assert_running();
  if (bdev.read_only || info.replayedInMemory) throw errno('EROFS');
  const granularity = bdev.discard_granularity;
  if (granularity === 0) throw errno('EOPNOTSUPP', `${bdev.name} cannot discard`);
  const start = Math.floor(range.start / BLOCK_SIZE);
  const end = Math.min(disk.blocks, start + Math.floor(range.len / BLOCK_SIZE));
  let minlen = Math.floor(range.minlen / BLOCK_SIZE);
  if (minlen > GROUP_BLOCKS || start >= disk.blocks || range.len < BLOCK_SIZE) throw errno('EINVAL');
  minlen = Math.max(1, minlen, Math.ceil(granularity / BLOCK_SIZE));
  if (minlen > GROUP_BLOCKS) return 0;
  let trimmed = 0;
  for (let number = groupOf(start); number < groups.count && number * GROUP_BLOCKS < end; number++) {
    const group = await groups.load(task, number);
    if (group.freeBlocks < minlen || (group.trimmed !== undefined && minlen >= group.trimmed)) continue;
    const from = Math.max(GROUP_HEAD, start - group.base);
    const to = Math.min(group.size, end - group.base);
    const whole = from === GROUP_HEAD && to === group.size;
    if (whole) group.trimmed = minlen;
    try {
      trimmed += await trimGroup(task, info, group, from, to, minlen);
    } catch (error) {
      group.trimmed = undefined;
      throw error;
    }
  }
  return trimmed * BLOCK_SIZE;
}

/** Discard the runs of free blocks from `from` to `to` exclusive of a group that are long enough (ext4_trim_all_free). @returns blocks */
async function trimGroup(
  task: Task,
  info: LatchInfo,
  group: Group,
  from: number,
  to: number,
  minlen: number,
): Promise<number> {
  let count = 0;
  /** Where a run ends that is known to be long enough. */
  let known = from;
  for (let at = from; at < to; ) {
    if (task.killed) throw errno('EINTR');
    info.assert_running();
    using _lock = await info.alloc.alloc_lock.lock(task);
    const bh = await info.groups.read(task, group, BLOCK_BITMAP);
    const bits = bh === undefined ? emptyBitmap() : bh.b_data;
    const start = firstClear(bits, group.busy, at, to) ?? to;
    const length = clearRun(bits, group.busy, start, to, to);
    if (bh !== undefined) brelse(bh);
    at = start + length;
    if (length === 0 || (length < minlen && start >= known)) continue;
    known = Math.max(known, at);
    const blocks = Math.min(length, CHUNK);
    const sector = ((group.base + start) * BLOCK_SIZE) / SECTOR_SIZE;
    await blkdev_issue_discard(task, info.bdev, sector, blocks * BLOCK_SIZE);
    count += blocks;
    at = start + blocks;
  }
  return count;
}
