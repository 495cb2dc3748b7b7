/** Writing a range of a file out and waiting for it, and who is told when that fails (mm/filemap.c). */
import { type Errno, errno, isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { AddressSpace, MmFile } from './address-space.js';
import { filemap_get_folios, folios_put } from './filemap-tree.js';
import { pageOf } from './folio.js';
import type { WritebackControl } from './operations.js';
import { do_writepages } from './page-writeback.js';
import { check_all_waited } from './writepages-check.js';

const BATCH = 32;

function wbcOf(sync_mode: WritebackControl['sync_mode'], start: number, end: number): WritebackControl {
  return {
    sync_mode,
    nr_to_write: Number.POSITIVE_INFINITY,
    range_start: start,
    range_end: end,
    pages_skipped: 0,
  };
}

/**
 * Start writing everything that is dirty in bytes `start` to `end`, inclusive, for data integrity (filemap_fdatawrite_range).
 * @throws the error of writepages
 */
export async function filemap_fdatawrite_range(
  task: Task,
  mapping: AddressSpace,
  start: number,
  end: number,
): Promise<void> {
  await do_writepages(task, mapping, wbcOf('WBC_SYNC_ALL', start, end));
}

/** Start writing what is dirty without waiting for anything (filemap_flush): for those who like to see it written some time soon. */
export async function filemap_flush(task: Task, mapping: AddressSpace): Promise<void> {
  await do_writepages(task, mapping, wbcOf('WBC_SYNC_NONE', 0, Number.POSITIVE_INFINITY));
}

/** Wait for the writes under way in bytes `start` to `end`, inclusive, and leave errors to whoever asks next (filemap_fdatawait_range_keep_errors). */
export async function filemap_fdatawait_range_keep_errors(
  task: Task,
  mapping: AddressSpace,
  start: number,
  end: number,
): Promise<void> {
  const last = pageOf(end);
  let at = pageOf(start);
  while (at <= last) {
    const folios = filemap_get_folios(mapping, at, last, BATCH, 'writeback');
    if (folios.length === 0) return;
    try {
      for (const folio of folios) {
        at = folio.index + 1;
        const wait = folio.writeback.wait(task);
        if (wait instanceof Promise) await wait;
      }
    } finally {
      folios_put(folios);
    }
  }
}

/**
 * Wait for the writes under way in bytes `start` to `end`, inclusive (filemap_fdatawait_range).
 * @throws the writeback error that no such wait has thrown yet, of whatever part of the file
 */
export async function filemap_fdatawait_range(
  task: Task,
  mapping: AddressSpace,
  start: number,
  end: number,
): Promise<void> {
  await filemap_fdatawait_range_keep_errors(task, mapping, start, end);
  const error = filemap_check_errors(mapping);
  if (error !== undefined) throw error;
}

/** The writeback error that nobody was told of yet, which is forgotten with this (filemap_check_errors). What is not ENOSPC is EIO. */
export function filemap_check_errors(mapping: AddressSpace): Errno | undefined {
  const { error } = mapping;
  mapping.error = undefined;
  return error === undefined || error.code === 'ENOSPC' ? error : errno('EIO', error.message);
}

/**
 * Write bytes `start` to `end`, inclusive, and wait until the device has them (filemap_write_and_wait_range).
 * @throws the error of the write, now or unreported from earlier
 */
export async function filemap_write_and_wait_range(
  task: Task,
  mapping: AddressSpace,
  start: number,
  end: number,
): Promise<void> {
  if (end < start) return;
  try {
    if (needsWriteback(mapping)) await writeAndWait(task, mapping, start, end);
  } catch (error) {
    filemap_check_errors(mapping);
    throw error;
  }
  const error = filemap_check_errors(mapping);
  if (error !== undefined) throw error;
}

/**
 * As filemap_write_and_wait_range for an open file, which is told of each writeback error of the mapping once
 * (file_write_and_wait_range): the first half of every fsync.
 * @throws the error of the write, or the one that this file has not been told of
 */
export async function file_write_and_wait_range(task: Task, file: MmFile, start: number, end: number): Promise<void> {
  if (end < start) return;
  const mapping = file.f_mapping;
  let failure: { readonly error: unknown } | undefined;
  try {
    if (needsWriteback(mapping)) await writeAndWait(task, mapping, start, end);
  } catch (error) {
    failure = { error };
  }
  const told = file_check_and_advance_wb_err(file);
  if (failure !== undefined) throw failure.error;
  if (told !== undefined) throw told;
}

/**
 * Wait for the writes under way in bytes `start` to `end`, inclusive, for an open file (file_fdatawait_range).
 * @throws the writeback error that this file has not been told of
 */
export async function file_fdatawait_range(task: Task, file: MmFile, start: number, end: number): Promise<void> {
  await filemap_fdatawait_range_keep_errors(task, file.f_mapping, start, end);
  const told = file_check_and_advance_wb_err(file);
  if (told !== undefined) throw told;
}

/** The writeback error since this file last asked, and no more of it afterwards (file_check_and_advance_wb_err). */
export function file_check_and_advance_wb_err(file: MmFile): Errno | undefined {
  const mapping = file.f_mapping;
  const { error, cursor } = mapping.wb_err.checkAndAdvance(file.f_wb_err);
  file.f_wb_err = cursor;
  // Somebody was told: the mapping's own note is spent as well.
  mapping.error = undefined;
  return error;
}

function needsWriteback(mapping: AddressSpace): boolean {
  return mapping.i_pages.marked('dirty') || mapping.i_pages.marked('writeback');
}

async function writeAndWait(task: Task, mapping: AddressSpace, start: number, end: number): Promise<void> {
  const { nr_dirtied } = mapping;
  try {
    await filemap_fdatawrite_range(task, mapping, start, end);
  } catch (error) {
    // The device itself has failed: what is under way may never end. Any other error leaves writes to wait for.
    if (!isErrno(error, 'EIO')) await filemap_fdatawait_range_keep_errors(task, mapping, start, end);
    throw error;
  }
  await filemap_fdatawait_range_keep_errors(task, mapping, start, end);
  check_all_waited(task, mapping, start, end, nr_dirtied);
}
