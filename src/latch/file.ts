/** Regular files: between the page cache and the blocks of the device. */
import { SECTOR_SIZE, submit_bio, submit_bio_wait } from '../block/bio.js';
import type { File } from '../fs/file.js';
import { mark_inode_dirty } from '../fs/icache.js';
import { I_DIRTY_SYNC } from '../fs/inode.js';
import type { file_operations as FileOperations, inode_operations } from '../fs/operations.js';
import {
  generic_file_llseek,
  generic_file_read_iter,
  generic_file_write_iter,
  SEEK_DATA,
  SEEK_HOLE,
} from '../fs/read-write.js';
import type { AddressSpace, MmFile } from '../mm/address-space.js';
import { filemap_grab_folio, folio_put } from '../mm/filemap.js';
import { type Folio, PAGE_SIZE } from '../mm/folio.js';
import {
  filemap_dirty_folio,
  folio_end_read,
  folio_end_writeback,
  folio_hand_over,
  folio_mark_dirty,
  folio_mark_uptodate,
  folio_start_writeback,
  folio_unlock,
} from '../mm/folio-state.js';
import type { address_space_operations, ReadaheadControl, WriteBegun, WritebackControl } from '../mm/operations.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { fileattr_get, fileattr_set, latch_setattr } from './attr.js';
import { BLOCK_SIZE } from './format/layout.js';
import { latch_fsync } from './fsync.js';
import { infoOf, with_handle } from './info.js';
import { LatchInode } from './inode.js';
import type { Handle } from './journal/types.js';
import { latch_fallocate } from './truncate.js';
import { latch_listxattr } from './xattr.js';

const SECTORS = BLOCK_SIZE / SECTOR_SIZE;

function hostOf(mapping: AddressSpace): LatchInode {
  const { host } = mapping;
  if (host instanceof LatchInode) return host;
  throw errno('EIO', 'a mapping of another filesystem');
}

function inodeOf(folio: Folio): LatchInode {
  if (folio.mapping === undefined) throw errno('EIO', 'a folio that was truncated');
  return hostOf(folio.mapping);
}

/** Fill a locked folio; the completion unlocks it. A hole and a preallocated block read as zeroes. */
function read_folio(task: Task, _file: MmFile | undefined, folio: Folio): void {
  const inode = inodeOf(folio);
  const extent = inode.extents.find(folio.index);
  if (extent === undefined || extent.unwritten) {
    folio.data.fill(0);
    folio_end_read(task, folio, true);
    return;
  }
  folio_hand_over(folio);
  submit_bio(task, infoOf(inode.i_sb).bdev, {
    op: 'read',
    sector: (extent.physical + folio.index - extent.logical) * SECTORS,
    vecs: [folio.data],
    length: PAGE_SIZE,
    end_io: (completion, error) => folio_end_read(completion, folio, error === undefined),
  });
}

function readahead(task: Task, rac: ReadaheadControl): void {
  for (const folio of rac.folios) read_folio(task, rac.file, folio);
}

/** Write a locked folio and unlock it; its writeback ends with the I/O. */
function writepage(task: Task, folio: Folio, _wbc: WritebackControl): Awaitable<void> {
  const inode = inodeOf(folio);
  const extent = inode.extents.find(folio.index);
  folio_start_writeback(task, folio);
  folio_unlock(task, folio);
  if (extent === undefined) {
    folio_end_writeback(task, folio, errno('EIO', `page ${folio.index} of inode ${inode.i_ino} has no block`));
    return undefined;
  }
  const { physical, logical, unwritten } = extent;
  if (unwritten) inode.extents.mark(folio.index, folio.index + 1, false);
  submit_bio(task, infoOf(inode.i_sb).bdev, {
    op: 'write',
    sector: (physical + folio.index - logical) * SECTORS,
    vecs: [folio.data],
    length: PAGE_SIZE,
    end_io: (completion, error) => folio_end_writeback(completion, folio, error),
  });
  return unwritten ? mark_inode_dirty(task, inode, I_DIRTY_SYNC) : undefined;
}

/** Map a block of a file. @throws ENOSPC */
async function mapBlock(task: Task, handle: Handle, inode: LatchInode, block: number): Promise<void> {
  const before = block > 0 ? inode.extents.find(block - 1) : undefined;
  const goal = before === undefined ? undefined : before.physical + (block - before.logical);
  const { start } = await infoOf(inode.i_sb).alloc.allocate(task, handle, 1, goal);
  inode.extents.insert({ logical: block, physical: start, length: 1, unwritten: true });
  inode.i_blocks += BLOCK_SIZE / SECTOR_SIZE;
}

/** The folio for a write, locked, with a block under it and its other bytes read. @throws ENOSPC EIO */
function write_begin(
  task: Task,
  _file: MmFile | undefined,
  mapping: AddressSpace,
  pos: number,
  len: number,
): Awaitable<WriteBegun> {
  const inode = hostOf(mapping);
  const index = Math.floor(pos / PAGE_SIZE);
  return andThen(filemap_grab_folio(task, mapping, index), ({ folio, held }) => {
    const mapped = inode.extents.find(index) !== undefined;
    if (mapped && folio.uptodate) return { folio, fsdata: undefined };
    const failed = (error: unknown): never => {
      held.release();
      folio_put(task, folio);
      throw error;
    };
    let ready: Awaitable<void>;
    try {
      const prepared = mapped
        ? undefined
        : with_handle(task, infoOf(inode.i_sb), (handle) => mapBlock(task, handle, inode, index));
      ready = andThen(prepared, () => fillForWrite(task, inode, folio, pos, len));
    } catch (error) {
      return failed(error);
    }
    if (!(ready instanceof Promise)) return { folio, fsdata: undefined };
    return ready.then(() => ({ folio, fsdata: undefined }), failed);
  });
}

/** Read or zero what the write does not cover. @throws EIO */
function fillForWrite(task: Task, inode: LatchInode, folio: Folio, pos: number, len: number): Awaitable<void> {
  if (folio.uptodate || (len === PAGE_SIZE && pos % PAGE_SIZE === 0)) return undefined;
  const extent = inode.extents.find(folio.index);
  if (extent === undefined || extent.unwritten) {
    folio.data.fill(0);
    folio_mark_uptodate(folio);
    return undefined;
  }
  const read = submit_bio_wait(task, infoOf(inode.i_sb).bdev, {
    op: 'read',
    sector: (extent.physical + folio.index - extent.logical) * SECTORS,
    vecs: [folio.data],
    length: PAGE_SIZE,
  });
  return andThen(read, () => folio_mark_uptodate(folio));
}

/** The bytes are in: dirty, and the file perhaps longer. Unlocks. */
function write_end(
  task: Task,
  _file: MmFile | undefined,
  _mapping: AddressSpace,
  pos: number,
  _len: number,
  copied: number,
  begun: WriteBegun,
): Awaitable<number> {
  const { folio } = begun;
  const inode = inodeOf(folio);
  if (copied > 0) {
    folio_mark_uptodate(folio);
    folio_mark_dirty(task, folio);
  }
  const grows = pos + copied > inode.i_size;
  if (grows) inode.i_size = pos + copied;
  folio_unlock(task, folio);
  folio_put(task, folio);
  return grows ? andThen(mark_inode_dirty(task, inode, I_DIRTY_SYNC), () => copied) : copied;
}

function bmap(_task: Task, mapping: AddressSpace, block: number): number {
  const extent = hostOf(mapping).extents.find(block);
  return extent === undefined ? 0 : extent.physical + block - extent.logical;
}

/** SEEK_DATA and SEEK_HOLE by the extents; a preallocated block that nobody wrote to is a hole. */
function llseek(_task: Task, file: File, offset: number, whence: number): number {
  if (whence !== SEEK_DATA && whence !== SEEK_HOLE) return generic_file_llseek(file, offset, whence);
  const inode = hostOf(file.f_mapping);
  if (offset < 0 || offset >= inode.i_size) throw errno('ENXIO');
  for (let pos = offset; pos < inode.i_size; ) {
    const block = Math.floor(pos / BLOCK_SIZE);
    const extent = inode.extents.next(block);
    const mapped = extent !== undefined && extent.logical <= block;
    const data = mapped && (!extent.unwritten || file.f_mapping.i_pages.load(block)?.dirty === true);
    if (data === (whence === SEEK_DATA)) return pos;
    const next = !mapped
      ? (extent?.logical ?? Number.POSITIVE_INFINITY)
      : extent.unwritten
        ? block + 1
        : extent.logical + extent.length;
    pos = next * BLOCK_SIZE;
  }
  if (whence === SEEK_DATA) throw errno('ENXIO');
  return inode.i_size;
}

export const file_aops: address_space_operations = {
  read_folio,
  readahead,
  writepage,
  dirty_folio: filemap_dirty_folio,
  write_begin,
  write_end,
  bmap,
};

export const file_operations: FileOperations = {
  llseek,
  read_iter: generic_file_read_iter,
  write_iter: generic_file_write_iter,
  fsync: latch_fsync,
  fallocate: latch_fallocate,
};

export const file_inode_operations: inode_operations = {
  setattr: latch_setattr,
  listxattr: latch_listxattr,
  fileattr_get,
  fileattr_set,
};
