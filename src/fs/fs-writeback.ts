/** Writing inodes back: one of them, and those of a superblock in the order in which they became dirty (fs/fs-writeback.c). When that happens is in flusher.ts. */

import { super_operations as rows } from '../contract/super.js';
import { call } from '../locking/context.js';
import { GUARDED, guard_read } from '../locking/guarded.js';
import type { AddressSpace } from '../mm/address-space.js';
import { filemap_fdatawait_range, filemap_fdatawait_range_keep_errors } from '../mm/filemap-wait.js';
import { mapping_set_error } from '../mm/folio-state.js';
import type { WritebackControl } from '../mm/operations.js';
import { do_writepages } from '../mm/page-writeback.js';
import { check_all_waited } from '../mm/writepages-check.js';
import { asErrno, Errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import {
  I_DIRTY,
  I_DIRTY_PAGES,
  I_DIRTY_SYNC,
  I_DIRTY_TIME,
  I_FREEING,
  I_SYNC,
  I_WILL_FREE,
  type Inode,
  inode_state_assign,
  inode_state_change,
} from './inode.js';
import { inode_add_lru, inode_busy, inode_idle, inode_wait_for_writeback, mark_inode_dirty } from './inode-dirty.js';
import { SB_RDONLY, type SuperBlock } from './super-block.js';

/** Pages that one inode may write before the next gets its turn (MIN_WRITEBACK_PAGES). */
const WRITE_CHUNK = 1024;

/** What a pass over the dirty inodes is to do (struct wb_writeback_work). */
export interface WritebackWork {
  readonly sync_mode: WritebackControl['sync_mode'];
  /** Only what was dirtied at this monotonic millisecond or before; absent: everything. */
  readonly older_than?: number;
  /** Asked after each inode: whether that is enough. */
  readonly enough?: () => boolean;
}

function control(sync_mode: WritebackControl['sync_mode'], nr_to_write: number): WritebackControl {
  return { sync_mode, nr_to_write, range_start: 0, range_end: Number.POSITIVE_INFINITY, pages_skipped: 0 };
}

function hasDirtyPages(inode: Inode): boolean {
  return inode.mappingIfAny?.i_pages.marked('dirty') === true;
}

/**
 * Write the pages of an inode that has I_SYNC, then the inode itself (__writeback_single_inode). With WBC_SYNC_ALL waits for the pages.
 * @throws the first error, with for_sync only of the inode itself; the rest is written all the same
 */
async function __writeback_single_inode(task: Task, inode: Inode, wbc: WritebackControl): Promise<void> {
  const { mappingIfAny: mapping } = inode;
  const sync = wbc.sync_mode === 'WBC_SYNC_ALL';
  let failure: { readonly error: unknown } | undefined;
  const attempt = async (body: () => Promise<void>): Promise<void> => {
    try {
      await body();
    } catch (error) {
      failure ??= { error };
    }
  };
  if (mapping !== undefined && mapping.nrpages > 0) {
    const { nr_dirtied } = mapping;
    const wait = wbc.for_sync === true ? filemap_fdatawait_range_keep_errors : filemap_fdatawait_range;
    await attempt(() => do_writepages(task, mapping, wbc));
    if (sync) await attempt(() => wait(task, mapping, 0, Number.MAX_SAFE_INTEGER));
    if (sync && failure === undefined) check_all_waited(task, mapping, 0, Number.MAX_SAFE_INTEGER, nr_dirtied);
    // The mapping has it since it happened. Noted again, it would be told again to who has heard of it meanwhile.
    if (wbc.for_sync === true && failure?.error instanceof Errno) failure = undefined;
  }
  if ((inode.i_state & I_DIRTY_TIME) !== 0 && (sync || timesExpired(inode))) {
    const marked = mark_inode_dirty(task, inode, I_DIRTY_SYNC);
    if (marked instanceof Promise) await marked;
  }
  const dirty = inode.i_state & I_DIRTY;
  // What a pass that does not wait left, and what came meanwhile.
  inode_state_change(task, inode, hasDirtyPages(inode) ? I_DIRTY_PAGES : 0, dirty);
  inode.i_sb.s_wb.written++;
  const { write_inode } = inode.i_sb.s_op;
  if ((dirty & ~I_DIRTY_PAGES) !== 0 && write_inode !== undefined) {
    await attempt(async () => call(task, rows.write_inode, {}, () => write_inode(task, inode, wbc)));
  }
  if (failure !== undefined) throw failure.error;
}

function timesExpired({ dirtied_time_when, i_sb: { s_times, sched } }: Inode): boolean {
  const { dirtytime_expire } = s_times;
  return dirtytime_expire > 0 && dirtied_time_when + dirtytime_expire <= sched.monotonic();
}

/** Where an inode belongs after it was written as far as `wbc` allowed (requeue_inode). i_lock is held. */
function requeue_inode(task: Task, inode: Inode, wbc: WritebackControl): void {
  const { s_wb: wb } = inode.i_sb;
  if ((inode.i_state & (I_FREEING | I_WILL_FREE)) !== 0) return;
  if (wbc.pages_skipped > 0) wb.redirty(task, inode);
  else if (hasDirtyPages(inode)) {
    if (wbc.nr_to_write <= 0) wb.move(task, inode, wb.b_more_io);
    else wb.redirty(task, inode);
  } else if ((inode.i_state & I_DIRTY) !== 0) wb.redirty(task, inode);
  else if ((inode.i_state & I_DIRTY_TIME) !== 0) {
    inode.dirtied_time_when = inode.i_sb.sched.monotonic();
    wb.move(task, inode, wb.b_dirty_time);
  } else wb.del(task, inode);
}

/** An inode that was written on its own keeps its place among those that wait, unless it is clean. i_lock is held. */
function settle(task: Task, inode: Inode): void {
  const { s_wb: wb } = inode.i_sb;
  if ((inode.i_state & (I_FREEING | I_WILL_FREE)) !== 0) return;
  if ((inode.i_state & (I_DIRTY | I_DIRTY_TIME)) === 0) wb.del(task, inode);
  else if (inode.i_io_list === undefined) wb.redirty(task, inode);
}

/**
 * Write one inode, alone: others who want to wait until this is done (writeback_single_inode).
 * @throws what writing throws
 */
async function writeback_single_inode(
  task: Task,
  inode: Inode,
  wbc: WritebackControl,
  afterwards: (task: Task, inode: Inode, wbc: WritebackControl) => void,
): Promise<void> {
  // Several may have waited: only the first of them finds nobody at it.
  while ((inode.i_state & I_SYNC) !== 0) {
    if (wbc.sync_mode !== 'WBC_SYNC_ALL') return;
    await inode_wait_for_writeback(task, inode);
  }
  const pages = inode.mappingIfAny?.i_pages;
  const idle = (inode.i_state & (I_DIRTY | I_DIRTY_TIME)) === 0;
  if (idle && (wbc.sync_mode !== 'WBC_SYNC_ALL' || pages?.marked('writeback') !== true)) return;
  inode_state_change(task, inode, I_SYNC);
  inode_busy(task, inode, I_SYNC);
  try {
    await __writeback_single_inode(task, inode, wbc);
  } finally {
    inode_sync_complete(task, inode, () => afterwards(task, inode, wbc));
  }
}

/** Nobody writes it any more (inode_sync_complete): it goes where it belongs, and can be freed if nobody uses it. */
function inode_sync_complete(task: Task, inode: Inode, place: () => void): void {
  {
    using _lock = inode.i_lock.lock(task);
    place();
    inode_state_assign(task, inode, inode.i_state & ~I_SYNC);
    inode_idle(inode, I_SYNC);
    inode_add_lru(task, inode);
  }
  inode.i_wait?.wake_all();
}

/**
 * Write an inode and its pages (write_inode_now).
 * @param sync wait until all of it is written
 * @throws EIO ENOSPC
 */
export async function write_inode_now(task: Task, inode: Inode, sync: boolean): Promise<void> {
  const wbc = control(sync ? 'WBC_SYNC_ALL' : 'WBC_SYNC_NONE', Number.POSITIVE_INFINITY);
  await writeback_single_inode(task, inode, wbc, settle);
}

/**
 * Write an inode without its pages, as fsync does after it has written them (sync_inode_metadata).
 * @param sync wait until it is written
 * @throws EIO ENOSPC
 */
export async function sync_inode_metadata(task: Task, inode: Inode, sync: boolean): Promise<void> {
  const wbc = control(sync ? 'WBC_SYNC_ALL' : 'WBC_SYNC_NONE', 0);
  await writeback_single_inode(task, inode, wbc, settle);
}

/** What is old enough goes to the list of this pass, in the order of dirtying (queue_io). */
function queue_io(task: Task, sb: SuperBlock, work: WritebackWork): void {
  const { s_wb: wb } = sb;
  const queue = (inode: Inode): void => {
    using _lock = inode.i_lock.lock(task);
    wb.move(task, inode, wb.b_io);
  };
  for (const inode of [...wb.b_more_io]) queue(inode);
  const { older_than = Number.POSITIVE_INFINITY } = work;
  for (const inode of [...wb.b_dirty]) {
    if (inode.dirtied_when > older_than) break;
    queue(inode);
  }
  for (const inode of [...wb.b_dirty_time]) {
    if (work.sync_mode !== 'WBC_SYNC_ALL' && !timesExpired(inode)) break;
    queue(inode);
  }
}

/**
 * Write the inodes that `work` is about (wb_writeback, writeback_sb_inodes). s_umount is held, so that the filesystem stays. An error of one inode is kept
 * for those who have it open, and the others are written.
 * @returns inodes written
 */
export async function writeback_sb_inodes(task: Task, sb: SuperBlock, work: WritebackWork): Promise<number> {
  guard_read(task, GUARDED.s_inodes, sb.s_umount);
  const { s_wb: wb } = sb;
  let written = 0;
  queue_io(task, sb, work);
  const sync = work.sync_mode === 'WBC_SYNC_ALL';
  // Those of this moment: what is dirtied meanwhile is for the next pass, so that it ends. Another pass may take what this one has queued, and leave some of it dirty: who must write all does not
  // go by the list. In Linux one worker makes all passes of a device, one after the other.
  const queued = sync ? [...wb.b_io] : [];
  for (let i = 0, { size } = wb.b_io; i < size; i++) {
    const [first] = wb.b_io;
    const inode = sync ? queued[i] : first;
    if (inode === undefined) break;
    if (passed_over(task, inode, sync)) continue;
    const wbc = { ...control(work.sync_mode, sync ? Number.POSITIVE_INFINITY : WRITE_CHUNK), for_sync: true };
    try {
      await writeback_single_inode(task, inode, wbc, requeue_inode);
      // Another has written it: it is where it belongs, or on nobody's list.
      if (inode.i_io_list === wb.b_io) {
        using _lock = inode.i_lock.lock(task);
        requeue_inode(task, inode, wbc);
      }
    } catch (error) {
      keepError(inode, error);
    }
    written++;
    if (work.enough?.() === true) break;
    await task.sched.yield();
  }
  return written;
}

/** Whether an inode is not written in this pass: it is being freed, or somebody else writes it and nobody has to wait. */
function passed_over(task: Task, inode: Inode, sync: boolean): boolean {
  const { s_wb: wb } = inode.i_sb;
  using _lock = inode.i_lock.lock(task);
  const freed = (inode.i_state & (I_FREEING | I_WILL_FREE)) !== 0;
  if (freed) wb.del(task, inode);
  else if ((inode.i_state & I_SYNC) !== 0 && !sync) wb.move(task, inode, wb.b_more_io);
  else return false;
  return true;
}

/** The inode could not be written: whoever has the file open hears of it at its next fsync. */
function keepError(inode: Inode, error: unknown): void {
  mapping_set_error(inode.i_mapping, asErrno(error));
}

/** Begin to write everything that is dirty now (writeback_inodes_sb). s_umount is held. */
export async function writeback_inodes_sb(task: Task, sb: SuperBlock): Promise<void> {
  await writeback_sb_inodes(task, sb, { sync_mode: 'WBC_SYNC_NONE' });
}

/** Write everything that is dirty now, and wait for all writes under way (sync_inodes_sb). s_umount is held. */
export async function sync_inodes_sb(task: Task, sb: SuperBlock): Promise<void> {
  guard_read(task, GUARDED.s_inodes, sb.s_umount);
  if ((sb.s_flags & SB_RDONLY) !== 0) return;
  // All of them are gone through with the deep checks on only.
  const before = task.validator.stacks ? dirtiedBefore(sb) : [];
  await writeback_sb_inodes(task, sb, { sync_mode: 'WBC_SYNC_ALL' });
  await wait_sb_inodes(task, sb);
  for (const [mapping, dirtied] of before) check_all_waited(task, mapping, 0, Number.MAX_SAFE_INTEGER, dirtied);
}

/** Files with pages, and how often one of theirs was dirtied until now. */
function dirtiedBefore(sb: SuperBlock): [AddressSpace, number][] {
  return [...sb.inodeHash.values()].flatMap(({ mappingIfAny: mapping }) =>
    mapping === undefined || mapping.nrpages === 0 ? [] : [[mapping, mapping.nr_dirtied]],
  );
}

/** Wait for writes that others began (wait_sb_inodes). Their errors are for those who have the files open. */
async function wait_sb_inodes(task: Task, sb: SuperBlock): Promise<void> {
  if (sb.s_bdi !== undefined && sb.s_bdi.nr_writeback === 0) return;
  for (const inode of [...sb.inodeHash.values()]) {
    const { mappingIfAny: mapping } = inode;
    if (mapping?.i_pages.marked('writeback') !== true) continue;
    await filemap_fdatawait_range_keep_errors(task, mapping, 0, Number.MAX_SAFE_INTEGER);
  }
}
