/**
 * Writing a file's pages (ext4_writepages). Pages get their blocks here, many at a time (delayed allocation), and by then a page is under writeback
 * and unlocked: so a handle may be waited for. That their blocks are written, or the file longer, is said when the data are on the device (end-io.ts).
 */
import type { AddressSpace } from '../mm/address-space.js';
import { type Folio, folio_zero_range, PAGE_SIZE } from '../mm/folio.js';
import { folio_clear_dirty_for_io } from '../mm/folio-clean.js';
import { folio_end_writeback, folio_start_writeback, folio_unlock } from '../mm/folio-state.js';
import type { WritebackControl } from '../mm/operations.js';
import { write_cache_pages } from '../mm/page-writeback.js';
import type { Awaitable } from '../sched/awaitable.js';
import { asErrno, Errno, errno, isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { ALLOC_CREDITS } from './alloc.js';
import { initQuota } from './charge.js';
import { claimBlocks, hostOf, undelay } from './delayed.js';
import { reachTo, submit_run, submit_runs, type WriteRun } from './end-io.js';
import { note_eof_blocks } from './eof-blocks.js';
import { endOf } from './extent-list.js';
import { infoOf, type LatchInfo, with_handle } from './info.js';
import type { LatchInode } from './inode.js';
import { writeInode } from './inode-disk.js';
import type { Handle } from './journal/types.js';
import { mapRun, markWritten } from './map.js';
import { might_wait_unconverted } from './unconverted.js';

/** Pages that are mapped together. */
const BATCH = 256;
/** Of no time at all: what has looked at errors then has seen none. */
const NEVER = -1;

/** ->writepage: one page. @throws EIO where it was truncated meanwhile */
export function writepage(task: Task, folio: Folio, _wbc: WritebackControl): Awaitable<void> {
  const { mapping } = folio;
  if (mapping === undefined) throw errno('EIO', 'a folio that was truncated');
  const inode = hostOf(mapping);
  begin(task, inode, folio);
  return writeBatch(task, inode, [folio]);
}

/** ->writepages: what is dirty of a range, in order. */
export async function writepages(task: Task, mapping: AddressSpace, wbc: WritebackControl): Promise<void> {
  const inode = hostOf(mapping);
  let batch: Folio[] = [];
  const flush = (): Promise<void> => {
    const full = batch;
    batch = [];
    return writeBatch(task, inode, full);
  };
  try {
    await write_cache_pages(task, mapping, wbc, (_task, folio) => {
      begin(task, inode, folio);
      batch.push(folio);
      return batch.length >= BATCH ? flush() : undefined;
    });
  } finally {
    if (batch.length > 0) await flush();
  }
}

/**
 * ->launder_folio: a dirty page is written before it leaves the cache, and waited for. It stays locked, so that nobody dirties it again.
 * @throws ENOSPC EIO: it could not be written, and its bytes are lost
 */
export async function latch_launder_folio(task: Task, folio: Folio): Promise<void> {
  const { mapping } = folio;
  if (mapping === undefined || !folio_clear_dirty_for_io(task, folio)) return;
  const inode = hostOf(mapping);
  folio.error = false;
  start(task, inode, folio);
  await writeBatch(task, inode, [folio]);
  await folio.writeback.wait(task);
  // What has gone wrong last in the file is this.
  if (folio.error) throw mapping.wb_err.check(NEVER) ?? errno('EIO');
}

/** The page is under writeback from now on, and unlocked. */
function begin(task: Task, inode: LatchInode, folio: Folio): void {
  start(task, inode, folio);
  folio_unlock(task, folio);
}

/** The page is under writeback from now on. What lies behind the end of the file is zeroed on its way. */
function start(task: Task, inode: LatchInode, folio: Folio): void {
  const end = inode.i_size - folio.index * PAGE_SIZE;
  if (end > 0 && end < PAGE_SIZE) folio_zero_range(folio, end, PAGE_SIZE - end);
  folio_start_writeback(task, folio);
}

/** Write pages that are under writeback, in the order of the file. Errors are the mapping's. */
async function writeBatch(task: Task, inode: LatchInode, batch: readonly Folio[]): Promise<void> {
  const info = infoOf(inode.i_sb);
  let done = 0;
  try {
    info.assert_running();
    while (done < batch.length) {
      const rest = batch.slice(done);
      const plain = await overwrite(task, inode, rest);
      if (plain !== undefined) {
        submit_run(task, info.bdev, plain);
        done += plain.folios.length;
      } else {
        const runs = await mapInTime(task, info, inode, rest);
        for (const { folios } of runs) done += folios.length;
        submit_runs(task, inode, runs);
      }
    }
  } catch (error) {
    const failure = asErrno(error);
    for (const folio of batch.slice(done)) {
      undelay(task, inode, folio);
      folio_end_writeback(task, folio, failure);
    }
    if (!(error instanceof Errno)) throw error;
  }
}

/** The first pages, as far as they only overwrite what is there; undefined where not even the first does. */
async function overwrite(task: Task, inode: LatchInode, batch: readonly Folio[]): Promise<WriteRun | undefined> {
  const first = batch[0]?.index ?? 0;
  const extent = await inode.extents.find(task, first);
  if (extent === undefined || extent.unwritten) return undefined;
  const most = Math.min(consecutive(batch), endOf(extent) - first);
  let count = 0;
  while (count < most && Math.min(inode.i_size, (first + count + 1) * PAGE_SIZE) <= inode.i_disksize) count++;
  if (count === 0) return undefined;
  const folios = batch.slice(0, count);
  for (const folio of folios) undelay(task, inode, folio);
  return { folios, start: extent.physical + (first - extent.logical) };
}

/** As mapSome, in a handle of its own, when no direct write is in the way and what was freed can be used again (ext4_writepages on ENOSPC). */
async function mapInTime(
  task: Task,
  info: LatchInfo,
  inode: LatchInode,
  batch: readonly Folio[],
): Promise<readonly WriteRun[]> {
  might_wait_unconverted(task);
  for (;;) {
    const runs: WriteRun[] = [];
    try {
      await with_handle(task, info, (handle) => mapSome(task, handle, info, inode, batch, runs));
      return runs;
    } catch (error) {
      for (const { writing } of runs) writing?.[Symbol.dispose]();
      if (isErrno(error, 'EAGAIN')) await inode.extents.unconverted.wait(task);
      else if (isErrno(error, 'ENOSPC') && info.alloc.pending > 0) await info.journal.force_commit(task);
      else throw error;
    }
  }
}

/** Map the first pages, as many as the handle has credits for, at least one. @param runs gets them */
async function mapSome(
  task: Task,
  handle: Handle,
  info: LatchInfo,
  inode: LatchInode,
  batch: readonly Folio[],
  runs: WriteRun[],
): Promise<void> {
  let done = 0;
  await initQuota(task, inode);
  try {
    while (
      done < batch.length &&
      (done === 0 || handle.credits >= inode.extents.credits + ALLOC_CREDITS + info.quotaCredits + 2)
    ) {
      const run = await mapFirst(task, handle, inode, batch.slice(done));
      if (run.folios.length === 0) break;
      runs.push(run);
      done += run.folios.length;
      if (done < batch.length) await task.sched.yield();
    }
  } catch (error) {
    if (done === 0) throw error;
  }
  const last = batch[done - 1];
  if (last === undefined) throw errno('EIO', 'a page cannot be mapped in one transaction');
  // Without a log it makes no difference when.
  if (!info.journaled) reachTo(inode, (last.index + 1) * PAGE_SIZE);
  await writeInode(task, handle, info, inode);
}

/**
 * See to it that the first pages have blocks. With a log these count as preallocated until the data are there; a device without one ends with the process, and has
 * forgotten what its free blocks held.
 * @returns those that lie together
 */
async function mapFirst(task: Task, handle: Handle, inode: LatchInode, batch: readonly Folio[]): Promise<WriteRun> {
  const first = batch[0]?.index ?? 0;
  const row = consecutive(batch);
  const { journaled } = infoOf(inode.i_sb);
  // Before it is looked up where they go: nobody zeroes blocks there from now on, unless it is over when the lookup ends.
  const writing = journaled ? inode.extents.unconverted.begin(first, first + row) : undefined;
  try {
    let extent = await inode.extents.find(task, first);
    if (extent === undefined) {
      if (journaled) await note_eof_blocks(task, inode, first + row);
      const mapped = await mapRun(task, handle, inode, { logical: first, length: row }, journaled, true);
      await claimBlocks(task, inode, batch.slice(0, mapped));
      // Not always what was just mapped: fallocate does not wait for pages under writeback, and may have been faster.
      extent = await inode.extents.find(task, first);
      if (extent === undefined) throw errno('EIO', `page ${first} of inode ${inode.i_ino} has no block`);
    }
    let count = Math.min(row, endOf(extent) - first);
    if (extent.unwritten && !journaled) count = (await markWritten(task, handle, inode, first, first + count)) - first;
    const folios = batch.slice(0, count);
    for (const folio of folios) undelay(task, inode, folio);
    const start = extent.physical + (first - extent.logical);
    if (writing === undefined) return { folios, start };
    if (extent.unwritten) writing.end = first + count;
    else writing[Symbol.dispose]();
    const end = Math.min(inode.i_size, (first + count) * PAGE_SIZE);
    return { folios, start, end, ...(extent.unwritten ? { writing } : {}) };
  } catch (error) {
    writing?.[Symbol.dispose]();
    throw error;
  }
}

/** Pages from the first one on without a gap. */
function consecutive(batch: readonly Folio[]): number {
  const first = batch[0]?.index ?? 0;
  let count = 1;
  while (count < batch.length && batch[count]?.index === first + count) count++;
  return count;
}
