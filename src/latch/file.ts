/** Regular files: between the page cache and the blocks of the device. */

import { type Inode, i_size_write } from '../fs/inode.js';
import type { file_operations as FileOperations, inode_operations } from '../fs/operations.js';
import { generic_file_write_iter } from '../fs/read-write.js';
import { GUARDED, guard_write } from '../locking/guarded.js';
import type { AddressSpace, MmFile } from '../mm/address-space.js';
import { filemap_grab_folio, type LockedFolio } from '../mm/filemap.js';
import { iocb_bio_iopoll } from '../mm/filemap-direct.js';
import { filemap_write_and_wait_range } from '../mm/filemap-wait.js';
import { type Folio, folio_put, PAGE_SIZE, pageOf } from '../mm/folio.js';
import { filemap_dirty_folio, folio_mark_uptodate, folio_unlock } from '../mm/folio-state.js';
import type { IovIter } from '../mm/iov-iter.js';
import { generic_error_remove_folio } from '../mm/memory-failure.js';
import { filemap_migrate_folio } from '../mm/migrate.js';
import type { address_space_operations, Kiocb, WriteBegun } from '../mm/operations.js';
import { pagecache_isize_extended } from '../mm/truncate.js';
import { type Awaitable, andThen, instead } from '../sched/awaitable.js';
import { isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { FS_SECRM_FL } from '../uapi/fs.js';
import { latch_get_acl, latch_get_inode_acl, latch_set_acl } from './acl.js';
import { fileattr_get, fileattr_set, latch_getattr, latch_setattr, latch_update_time } from './attr.js';
import { latch_release } from './da-alloc.js';
import { delay, flush_promises, hostOf, invalidate_folio, isDelayed, release_folio, undelay } from './delayed.js';
import { dio_write_iter } from './dio-overwrite.js';
import { latch_direct_IO, latch_read_iter, latch_swap_rw } from './direct.js';
import { latch_fadvise } from './fadvise.js';
import { latch_fiemap } from './fiemap.js';
import type { Extent } from './format/inode.js';
import { latch_fsync } from './fsync.js';
import { infoOf, type LatchInfo } from './info.js';
import type { LatchInode } from './inode.js';
import { latch_compat_ioctl, latch_ioctl } from './ioctl.js';
import { latch_flock, latch_lock, latch_setlease } from './locks.js';
import { latch_get_unmapped_area, latch_mmap } from './mmap.js';
import { inodeOf, read_folio, read_locked, readahead } from './readpage.js';
import { latch_copy_file_range, latch_remap_file_range } from './remap.js';
import { latch_free_folio, latch_migrate_folio, note_secret } from './secret.js';
import { forget_sectors, latch_is_partially_uptodate } from './sectors.js';
import { latch_llseek } from './seek.js';
import { latch_swap_activate, latch_swap_deactivate } from './swap.js';
import { latch_fallocate, latch_truncate } from './truncate.js';
import { latch_launder_folio, writepage, writepages } from './writepages.js';
import { latch_listxattr } from './xattr.js';
import { zeroEof } from './zero-eof.js';

/** The folio for a write, locked, with a block under it or the promise of one, and its other bytes read. @throws ENOSPC EIO */
function write_begin(
  task: Task,
  _file: MmFile | undefined,
  mapping: AddressSpace,
  pos: number,
  len: number,
): Awaitable<WriteBegun> {
  // What lies behind the end is prepared for a size that nobody else may change until write_end has set it.
  const inode = hostOf(mapping);
  infoOf(inode.i_sb).assert_running();
  if (pos + len > inode.i_size) guard_write(task, GUARDED.i_size, inode.i_rwsem);
  if (pos > inode.i_size && inode.i_size % PAGE_SIZE !== 0)
    return zeroEof(task, inode, pos).then(() => grabAndBegin(task, inode, pos, len));
  return grabAndBegin(task, inode, pos, len);
}

function grabAndBegin(task: Task, inode: LatchInode, pos: number, len: number): Awaitable<WriteBegun> {
  const grabbed = filemap_grab_folio(task, inode.i_mapping, pageOf(pos));
  if (grabbed instanceof Promise) return grabbed.then((locked) => begin(task, inode, locked, pos, len));
  return begin(task, inode, grabbed, pos, len);
}

function begin(task: Task, inode: LatchInode, locked: LockedFolio, pos: number, len: number): Awaitable<WriteBegun> {
  const { folio } = locked;
  const begun = { folio, fsdata: undefined };
  if ((inode.flags & FS_SECRM_FL) !== 0) note_secret(inode, [folio]);
  // It has its promise and all of its bytes: the extents need not be asked.
  if (folio.uptodate && isDelayed(folio)) return begun;
  let ready: Awaitable<void>;
  try {
    const extent = inode.extents.find(task, folio.index);
    ready =
      extent instanceof Promise
        ? extent.then((found) => prepare(task, inode, folio, found, pos, len))
        : prepare(task, inode, folio, extent, pos, len);
  } catch (error) {
    return failed(task, inode, locked, error);
  }
  if (!(ready instanceof Promise)) return begun;
  return ready.then(
    () => begun,
    (error: unknown) => failed(task, inode, locked, error),
  );
}

/** Nothing will be written to the folio. */
function failed(task: Task, inode: LatchInode, { folio, held }: LockedFolio, error: unknown): never {
  // It must not keep a promise that nobody keeps.
  if (!folio.dirty) undelay(task, inode, folio);
  held.release();
  folio_put(folio);
  throw error;
}

/** Promise the folio a block where it has none, and fill in what the write does not cover. @throws ENOSPC EIO */
function prepare(
  task: Task,
  inode: LatchInode,
  folio: Folio,
  extent: Extent | undefined,
  pos: number,
  len: number,
): Awaitable<void> {
  const promise = extent === undefined ? delay(task, inode, folio) : undefined;
  if (promise instanceof Promise) return promise.then(() => fillForWrite(task, inode, folio, extent, pos, len));
  return fillForWrite(task, inode, folio, extent, pos, len);
}

/** Read or zero what the write does not cover. @param extent undefined: nothing was there before @throws EIO */
function fillForWrite(
  task: Task,
  inode: LatchInode,
  folio: Folio,
  extent: Extent | undefined,
  pos: number,
  len: number,
): Awaitable<void> {
  if (folio.uptodate || (len === PAGE_SIZE && pos % PAGE_SIZE === 0)) return undefined;
  if (extent === undefined || extent.unwritten) {
    folio.data.fill(0);
    folio_mark_uptodate(folio);
    return undefined;
  }
  return read_locked(task, inode, folio, extent);
}

function uptodate(folio: Folio): void {
  forget_sectors(folio);
  folio_mark_uptodate(folio);
}

/** The bytes are in: dirty, and the file perhaps longer. Unlocks. */
function write_end(
  task: Task,
  _file: MmFile | undefined,
  mapping: AddressSpace,
  pos: number,
  _len: number,
  copied: number,
  begun: WriteBegun,
): Awaitable<number> {
  const { folio } = begun;
  const inode = inodeOf(folio);
  const oldSize = inode.i_size;
  // Asked here and not only where the size is set: a lock taken in between would come too late for the comparison.
  if (pos + copied > oldSize) guard_write(task, GUARDED.i_size, inode.i_rwsem);
  if (copied > 0) {
    uptodate(folio);
    // Its own ->dirty_folio, which needs no call through the operations (iomap_write_end).
    filemap_dirty_folio(task, mapping, folio);
    folio.reclaim = false;
  } else if (!folio.dirty) undelay(task, inode, folio);
  // The size on the device follows when the page is written.
  if (copied > 0 && pos + copied > oldSize) i_size_write(task, inode, pos + copied);
  folio_unlock(task, folio);
  folio_put(folio);
  if (copied === 0 || pos <= oldSize) return copied;
  return andThen(pagecache_isize_extended(task, mapping, oldSize, pos), instead, copied);
}

/** ->open. @throws EIO where the filesystem was shut down */
function latch_open(_task: Task, inode: Inode): void {
  infoOf(inode.i_sb).assert_running();
}

/**
 * ->write_iter. Where there is no room all dirty pages get their blocks, and it is tried once more (as xfs_file_buffered_write).
 * @throws as generic_file_write_iter; EIO where the filesystem was shut down
 */
function latch_write_iter(task: Task, iocb: Kiocb, iter: IovIter): Awaitable<number> {
  const info = infoOf(hostOf(iocb.ki_filp.f_mapping).i_sb);
  info.assert_running();
  const { count } = iter;
  // No closures where there is room: this is every write's way.
  try {
    const written = iocb.direct ? dio_write_iter(task, iocb, iter) : generic_file_write_iter(task, iocb, iter);
    if (!(written instanceof Promise)) return written;
    return written.catch((error: unknown) => writeAgain(task, info, iocb, iter, count, error));
  } catch (error) {
    return writeAgain(task, info, iocb, iter, count, error);
  }
}

/** A write of `count` bytes has failed with `error`: where it found no room, and nothing was written, it gets another try. */
function writeAgain(
  task: Task,
  info: LatchInfo,
  iocb: Kiocb,
  iter: IovIter,
  count: number,
  error: unknown,
): Awaitable<number> {
  if (!isErrno(error, 'ENOSPC') || iter.count !== count) throw error;
  return andThen(flush_promises(task, info), (flushed) => {
    if (!flushed) throw error;
    return generic_file_write_iter(task, iocb, iter);
  });
}

/**
 * Where a block of a file is on the device (ext4_bmap). First what is promised a place gets it, and what is dirty is written: the kernel's swapper, which
 * asks so of a mounted disk, writes there past us, and nothing that is older may be written over that.
 * @returns 0 for a hole
 * @throws EIO and ENOSPC of the writing
 */
async function bmap(task: Task, mapping: AddressSpace, block: number): Promise<number> {
  await filemap_write_and_wait_range(task, mapping, 0, Number.MAX_SAFE_INTEGER);
  const extent = await hostOf(mapping).extents.find(task, block);
  return extent === undefined ? 0 : extent.physical + block - extent.logical;
}

export const file_aops: address_space_operations = {
  read_folio,
  readahead,
  writepage,
  writepages,
  invalidate_folio,
  release_folio,
  launder_folio: latch_launder_folio,
  is_partially_uptodate: latch_is_partially_uptodate,
  dirty_folio: filemap_dirty_folio,
  write_begin,
  write_end,
  bmap,
  migrate_folio: filemap_migrate_folio,
  error_remove_folio: generic_error_remove_folio,
  direct_IO: latch_direct_IO,
  swap_activate: latch_swap_activate,
  swap_deactivate: latch_swap_deactivate,
  swap_rw: latch_swap_rw,
};

/** Of files that are to be deleted for good: others need not be told of every page that goes. */
export const secret_aops: address_space_operations = {
  ...file_aops,
  free_folio: latch_free_folio,
  migrate_folio: latch_migrate_folio,
};

export const file_operations: FileOperations = {
  llseek: latch_llseek,
  read_iter: latch_read_iter,
  write_iter: latch_write_iter,
  iopoll: iocb_bio_iopoll,
  open: latch_open,
  release: latch_release,
  fsync: latch_fsync,
  fallocate: latch_fallocate,
  copy_file_range: latch_copy_file_range,
  remap_file_range: latch_remap_file_range,
  lock: latch_lock,
  flock: latch_flock,
  setlease: latch_setlease,
  unlocked_ioctl: latch_ioctl,
  compat_ioctl: latch_compat_ioctl,
  mmap: latch_mmap,
  get_unmapped_area: latch_get_unmapped_area,
  fadvise: latch_fadvise,
};

export const file_inode_operations: inode_operations = {
  truncate: latch_truncate,
  setattr: latch_setattr,
  getattr: latch_getattr,
  update_time: latch_update_time,
  listxattr: latch_listxattr,
  fiemap: latch_fiemap,
  get_inode_acl: latch_get_inode_acl,
  get_acl: latch_get_acl,
  set_acl: latch_set_acl,
  fileattr_get,
  fileattr_set,
};
