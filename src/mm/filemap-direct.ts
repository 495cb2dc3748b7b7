/** Reads and writes that pass the page cache by, and keep it true all the same (mm/filemap.c: generic_file_read_iter, generic_file_direct_write). */
import { bio_poll } from '../block/bio.js';
import { BlockDevice } from '../block/block-device.js';
import { address_space_operations } from '../contract/address-space.js';
import { call } from '../locking/context.js';
import type { Awaitable } from '../sched/awaitable.js';
import { errno, isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { filemap_read } from './filemap-read.js';
import { filemap_range_has_page, filemap_range_needs_writeback } from './filemap-tree.js';
import { filemap_write_and_wait_range } from './filemap-wait.js';
import { pageOf } from './folio.js';
import { invalidate_inode_pages2_range } from './invalidate.js';
import type { IovIter } from './iov-iter.js';
import { completed, IOCB_QUEUED, type Kiocb } from './operations.js';

/**
 * read_iter for files with pages (generic_file_read_iter): through the cache, or with iocb.direct through direct_IO after what is dirty in
 * the range has been written; what direct_IO leaves before the end of the file is read through the cache.
 * @returns bytes read, or IOCB_QUEUED where direct_IO has queued them
 * @throws EAGAIN with iocb.nowait where it would wait; EINVAL for a direct read where there is no direct_IO; what reading throws
 */
export function generic_file_read_iter(task: Task, iocb: Kiocb, iter: IovIter): Awaitable<number | typeof IOCB_QUEUED> {
  if (iter.count === 0) return 0;
  return iocb.direct ? readDirect(task, iocb, iter) : filemap_read(task, iocb, iter);
}

async function readDirect(task: Task, iocb: Kiocb, iter: IovIter): Promise<number | typeof IOCB_QUEUED> {
  const mapping = iocb.ki_filp.f_mapping;
  const { direct_IO } = mapping.a_ops;
  if (direct_IO === undefined) throw errno('EINVAL', 'the file has no direct_IO');
  const end = iocb.ki_pos + iter.count - 1;
  if (filemap_range_needs_writeback(mapping, iocb.ki_pos, end)) {
    if (iocb.nowait) throw errno('EAGAIN');
    await filemap_write_and_wait_range(task, mapping, iocb.ki_pos, end);
  }
  const read = await call(task, address_space_operations.direct_IO, {}, () => direct_IO(task, iocb, iter));
  if (read === IOCB_QUEUED) return read;
  iocb.ki_pos += read;
  if (iter.count === 0 || iocb.ki_pos >= mapping.host.i_size) return read;
  try {
    return read + (await filemap_read(task, iocb, iter));
  } catch (error) {
    if (read > 0) return read;
    throw error;
  }
}

/**
 * iopoll for files whose direct_IO leaves its bios to be polled for, and the device in iocb.private (iocb_bio_iopoll).
 * @param spin wait until something has completed, where anything is under way
 * @returns completions run; 0 where nothing was
 */
export function iocb_bio_iopoll(task: Task, iocb: Kiocb, spin: boolean): Awaitable<number> {
  return iocb.private instanceof BlockDevice ? bio_poll(task, iocb.private, spin) : 0;
}

/**
 * Write what is dirty in the range of a direct write, and drop its pages (kiocb_invalidate_pages): they would be older than the device soon.
 * @throws EAGAIN with iocb.nowait where there are pages; EBUSY where one cannot be dropped; the error of the write
 */
export async function kiocb_invalidate_pages(task: Task, iocb: Kiocb, count: number): Promise<void> {
  const mapping = iocb.ki_filp.f_mapping;
  const end = iocb.ki_pos + count - 1;
  if (iocb.nowait && filemap_range_has_page(mapping, iocb.ki_pos, end)) throw errno('EAGAIN');
  if (filemap_range_needs_writeback(mapping, iocb.ki_pos, end)) {
    await filemap_write_and_wait_range(task, mapping, iocb.ki_pos, end);
  }
  await invalidate_inode_pages2_range(task, mapping, pageOf(iocb.ki_pos), pageOf(end));
}

/** After a direct write of `count` bytes at the position, drop the pages that a racing read has brought in again (kiocb_invalidate_post_direct_write). */
export async function kiocb_invalidate_post_direct_write(task: Task, iocb: Kiocb, count: number): Promise<void> {
  const mapping = iocb.ki_filp.f_mapping;
  if (mapping.nrpages === 0 || count === 0) return;
  try {
    await invalidate_inode_pages2_range(task, mapping, pageOf(iocb.ki_pos), pageOf(iocb.ki_pos + count - 1));
  } catch (error) {
    // A page that is in use stays and is stale: those who mix both kinds of I/O asked for it (dio_warn_stale_pagecache).
    if (!isErrno(error, 'EBUSY')) throw error;
  }
}

/**
 * Write through direct_IO and keep the cache true (generic_file_direct_write). i_rwsem is held exclusively. The size of the file is direct_IO's
 * business.
 * @returns bytes written; 0, and the rest left in `iter`, where the caller should write through the cache instead
 * @throws EINVAL where there is no direct_IO; what direct_IO throws
 */
export async function generic_file_direct_write(task: Task, iocb: Kiocb, iter: IovIter): Promise<number> {
  const { direct_IO } = iocb.ki_filp.f_mapping.a_ops;
  if (direct_IO === undefined) throw errno('EINVAL', 'the file has no direct_IO');
  try {
    await kiocb_invalidate_pages(task, iocb, iter.count);
  } catch (error) {
    if (isErrno(error, 'EBUSY')) return 0;
    throw error;
  }
  const written = await completed(
    call(task, address_space_operations.direct_IO, {}, () => direct_IO(task, iocb, iter)),
  );
  await kiocb_invalidate_post_direct_write(task, iocb, written);
  iocb.ki_pos += written;
  return written;
}

/**
 * The end of a direct write of which a part went through the cache (direct_write_fallback): that part must be on the device, and out of the
 * cache, as O_DIRECT promises.
 * @param direct bytes that went directly
 * @param buffered bytes that followed through the cache; the position is behind them
 * @returns bytes written in all
 */
export async function direct_write_fallback(
  task: Task,
  iocb: Kiocb,
  direct: number,
  buffered: number,
): Promise<number> {
  if (buffered === 0) return direct;
  const mapping = iocb.ki_filp.f_mapping;
  const start = iocb.ki_pos - buffered;
  const end = iocb.ki_pos - 1;
  try {
    await filemap_write_and_wait_range(task, mapping, start, end);
  } catch (error) {
    // What went directly is written; the rest may be written again.
    if (direct > 0) {
      iocb.ki_pos = start;
      return direct;
    }
    throw error;
  }
  try {
    await invalidate_inode_pages2_range(task, mapping, pageOf(start), pageOf(end));
  } catch (error) {
    if (!isErrno(error, 'EBUSY')) throw error;
  }
  return direct + buffered;
}
