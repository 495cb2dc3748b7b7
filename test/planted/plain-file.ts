/** Files of the plain filesystem: each has a fixed run of blocks on the device, so that pages are read and written by requests that complete. */
import { submit_bio } from '../../src/block/bio.js';
import type { BlockDevice } from '../../src/block/block-device.js';
import { setattr_copy } from '../../src/fs/attr.js';
import type { Dentry } from '../../src/fs/dentry.js';
import { type Inode, i_size_write } from '../../src/fs/inode.js';
import { mmap_with, vfs_page_mkwrite } from '../../src/fs/mmap.js';
import type { file_operations, inode_operations } from '../../src/fs/operations.js';
import { generic_file_read_iter, generic_file_write_iter } from '../../src/fs/read-write.js';
import { generic_file_llseek } from '../../src/fs/seek.js';
import { filemap_grab_folio } from '../../src/mm/filemap.js';
import { file_write_and_wait_range } from '../../src/mm/filemap-wait.js';
import { type Folio, folio_put, PAGE_SIZE } from '../../src/mm/folio.js';
import {
  filemap_dirty_folio,
  folio_end_read,
  folio_end_writeback,
  folio_hand_over,
  folio_mark_dirty,
  folio_mark_uptodate,
  folio_start_writeback,
  folio_unlock,
} from '../../src/mm/folio-state.js';
import type { address_space_operations } from '../../src/mm/operations.js';
import { truncate_pagecache_range, truncate_setsize } from '../../src/mm/truncate.js';
import { andThen } from '../../src/sched/awaitable.js';
import type { Errno } from '../../src/sched/errno.js';
import { errno } from '../../src/sched/errno.js';
import type { Task } from '../../src/sched/task.js';

/** The blocks of one file. */
export const FILE_PAGES = 64;
const SECTORS = PAGE_SIZE / 512;

/** What runs when the write of a page has ended, in completion context. */
type Completion = (task: Task, folio: Folio, error: Errno | undefined) => void;

/** The device under an inode. */
export function bdevOf(inode: Inode): BlockDevice {
  const { s_bdev: bdev } = inode.i_sb;
  if (bdev === undefined) throw errno('ENODEV');
  return bdev;
}

/** The first sector of a page of a file. */
export function sectorOf(inode: Inode, index: number): number {
  return (inode.i_ino * FILE_PAGES + index) * SECTORS;
}

/** The file that a folio is of. */
export function hostOf(folio: Folio): Inode {
  const { mapping } = folio;
  if (mapping === undefined) throw errno('EIO');
  return mapping.host as Inode;
}

/** The inode of a name that exists. */
export function inodeOf(dentry: Dentry): Inode {
  const { d_inode: inode } = dentry;
  if (inode === undefined) throw errno('ENOENT');
  return inode;
}

export function read_folio(task: Task, _file: unknown, folio: Folio): void {
  const inode = hostOf(folio);
  folio_hand_over(folio);
  submit_bio(task, bdevOf(inode), {
    op: 'read',
    sector: sectorOf(inode, folio.index),
    vecs: [folio.data],
    length: PAGE_SIZE,
    end_io: (completion, error) => folio_end_read(completion, folio, error === undefined),
  });
}

/** Hand a page to the device. @param end_io by default ends the writeback */
export function submit_write(task: Task, folio: Folio, end_io: Completion = folio_end_writeback): void {
  const inode = hostOf(folio);
  submit_bio(task, bdevOf(inode), {
    op: 'write',
    sector: sectorOf(inode, folio.index),
    vecs: [folio.data],
    length: PAGE_SIZE,
    end_io: (completion, error) => end_io(completion, folio, error),
  });
}

export function writepage(task: Task, folio: Folio): void {
  folio_start_writeback(task, folio);
  folio_unlock(task, folio);
  submit_write(task, folio);
}

/** What was not written yet reads as zeros. */
function prepare(folio: Folio): void {
  if (folio.uptodate) return;
  folio.data.fill(0);
  folio_mark_uptodate(folio);
}

export const plain_aops: address_space_operations = {
  read_folio,
  writepage,
  dirty_folio: filemap_dirty_folio,
  write_begin: (task, _file, mapping, pos) =>
    andThen(filemap_grab_folio(task, mapping, Math.floor(pos / PAGE_SIZE)), ({ folio }) => {
      prepare(folio);
      return { folio, fsdata: undefined };
    }),
  write_end: (task, _file, _mapping, pos, _len, copied, { folio }) => {
    const inode = hostOf(folio);
    folio_mark_dirty(task, folio);
    if (pos + copied > inode.i_size) i_size_write(task, inode, pos + copied);
    folio_unlock(task, folio);
    folio_put(folio);
    return copied;
  },
};

async function fallocate(
  task: Task,
  file: Parameters<NonNullable<file_operations['fallocate']>>[1],
  _mode: number,
  offset: number,
  length: number,
): Promise<void> {
  const { f_inode: inode, f_mapping: mapping } = file;
  using _inode = await inode.i_rwsem.write(task);
  using invalidate = await mapping.invalidate_lock.write(task);
  await file_write_and_wait_range(task, file, offset, offset + length - 1);
  await truncate_pagecache_range(task, mapping, offset, offset + length - 1, invalidate);
}

export const plain_fops: file_operations = {
  llseek: (_task, file, offset, whence) => generic_file_llseek(file, offset, whence),
  read_iter: generic_file_read_iter,
  write_iter: generic_file_write_iter,
  fsync: (task, file, start, end) => file_write_and_wait_range(task, file, start, end),
  mmap: (_task, file, vma) => mmap_with(file, vma, (task, vma, vmf) => vfs_page_mkwrite(task, vma, vmf, file.f_inode)),
  fallocate,
};

/** Change the size with i_rwsem held, under invalidate_lock. */
export async function setsize(task: Task, inode: Inode, size: number): Promise<void> {
  const { i_mapping: mapping } = inode;
  using held = await mapping.invalidate_lock.write(task);
  await truncate_setsize(task, mapping, size, (size) => i_size_write(task, inode, size), held);
}

export const plain_file_inode_operations: inode_operations = {
  setattr: (task, dentry, attr) => {
    const inode = inodeOf(dentry);
    return andThen(attr.size === undefined ? undefined : setsize(task, inode, attr.size), () =>
      setattr_copy(task, inode, attr),
    );
  },
};
