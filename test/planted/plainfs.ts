/**
 * A small filesystem that does everything right, to derive wrong ones from: names live in the dcache, as in ramfs; each file has a fixed run of
 * blocks on the device, so that pages are read and written by requests that complete.
 */
import { submit_bio } from '../../src/block/bio.js';
import type { BlockDevice } from '../../src/block/block-device.js';
import { setattr_copy } from '../../src/fs/attr.js';
import { dget, dput } from '../../src/fs/dcache.js';
import { d_add, d_instantiate, d_make_root } from '../../src/fs/dcache-alias.js';
import type { Dentry } from '../../src/fs/dentry.js';
import {
  drop_nlink,
  ihold,
  inc_nlink,
  inode_init_owner,
  insert_inode_locked,
  new_inode,
  unlock_new_inode,
} from '../../src/fs/icache.js';
import { type Inode, i_size_write } from '../../src/fs/inode.js';
import {
  OffsetCtx,
  simple_offset_add,
  simple_offset_dir_operations,
  simple_offset_remove,
  simple_statfs,
} from '../../src/fs/libfs.js';
import { mmap_with, vfs_page_mkwrite } from '../../src/fs/mmap.js';
import type {
  dentry_operations,
  file_operations,
  inode_operations,
  super_operations,
  xattr_handler,
} from '../../src/fs/operations.js';
import { generic_file_llseek, generic_file_read_iter, generic_file_write_iter } from '../../src/fs/read-write.js';
import type { FileSystemType } from '../../src/fs/super.js';
import type { SuperBlock } from '../../src/fs/super-block.js';
import { current_time, dir_changed, inode_set_ctime_current } from '../../src/fs/time.js';
import { GUARDED, guard_read, guard_write } from '../../src/locking/guarded.js';
import { filemap_grab_folio, folio_put } from '../../src/mm/filemap.js';
import { file_write_and_wait_range } from '../../src/mm/filemap-wait.js';
import { type Folio, PAGE_SIZE } from '../../src/mm/folio.js';
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
import { type Awaitable, andThen } from '../../src/sched/awaitable.js';
import { errno } from '../../src/sched/errno.js';
import type { Task } from '../../src/sched/task.js';

const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFMT = 0o170000;
/** The blocks of one file. */
const FILE_PAGES = 64;
const SECTORS = PAGE_SIZE / 512;

/** What a wrong filesystem does in its own way. */
export interface Changes {
  readonly dir?: inode_operations;
  readonly file?: inode_operations;
  readonly fops?: file_operations;
  /** Of directories. */
  readonly dirFops?: file_operations;
  readonly aops?: address_space_operations;
  readonly super?: super_operations;
  readonly dentry?: dentry_operations;
  readonly xattr?: readonly xattr_handler[];
  readonly type?: Partial<FileSystemType>;
}

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

/** Hand a page under writeback to the device. */
export function submit_write(task: Task, folio: Folio): void {
  const inode = hostOf(folio);
  submit_bio(task, bdevOf(inode), {
    op: 'write',
    sector: sectorOf(inode, folio.index),
    vecs: [folio.data],
    length: PAGE_SIZE,
    end_io: (completion, error) => folio_end_writeback(completion, folio, error),
  });
}

function writepage(task: Task, folio: Folio): void {
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
    folio_put(task, folio);
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
      setattr_copy(inode, attr),
    );
  },
};

const offsets = new WeakMap<Inode, OffsetCtx>();

function offsetsOf(dir: Inode): OffsetCtx {
  const known = offsets.get(dir);
  if (known !== undefined) return known;
  const fresh = new OffsetCtx();
  offsets.set(dir, fresh);
  return fresh;
}

/** A new inode, in the hash. */
function newInode(task: Task, sb: SuperBlock, dir: Inode | undefined, mode: number, changes: Changes): Inode {
  const inode = new_inode(task, sb);
  inode.i_ino = sb.inodeHash.size + 1;
  while (sb.inodeHash.has(inode.i_ino)) inode.i_ino++;
  inode_init_owner(task, inode, dir, mode);
  inode.i_atime = inode.i_mtime = inode.i_ctime = inode.i_btime = current_time(inode);
  if ((mode & S_IFMT) === S_IFDIR) {
    inode.i_nlink = 2;
    inode.i_op = dirOperations(changes);
    inode.i_fop = { ...simple_offset_dir_operations, ...changes.dirFops };
  } else {
    inode.i_op = { ...plain_file_inode_operations, ...changes.file };
    inode.i_fop = { ...plain_fops, ...changes.fops };
    inode.a_ops = { ...plain_aops, ...changes.aops };
  }
  insert_inode_locked(inode);
  unlock_new_inode(inode);
  return inode;
}

/** A name for an inode, which stays in the dcache until it is removed. */
function addName(task: Task, dir: Inode, dentry: Dentry, inode: Inode): void {
  guard_write(task, GUARDED.dir_entries, dir.i_rwsem);
  d_instantiate(task, dentry, inode);
  dget(dentry);
  simple_offset_add(offsetsOf(dir), dentry);
  dir_changed(dir);
}

function removeName(task: Task, dir: Inode, dentry: Dentry): Awaitable<void> {
  guard_write(task, GUARDED.dir_entries, dir.i_rwsem);
  const inode = inodeOf(dentry);
  drop_nlink(inode);
  inode_set_ctime_current(inode);
  simple_offset_remove(offsetsOf(dir), dentry);
  dir_changed(dir);
  return dput(task, dentry);
}

function rmdir(task: Task, dir: Inode, dentry: Dentry): Awaitable<void> {
  const inode = inodeOf(dentry);
  if (offsetsOf(inode).entries.size > 0) throw errno('ENOTEMPTY');
  drop_nlink(inode);
  drop_nlink(dir);
  return removeName(task, dir, dentry);
}

async function rename(
  task: Task,
  oldDir: Inode,
  old: Dentry,
  newDir: Inode,
  dentry: Dentry,
  flags: number,
): Promise<void> {
  if (flags > 1) throw errno('EINVAL');
  const inode = inodeOf(old);
  const isDir = (inode.i_mode & S_IFMT) === S_IFDIR;
  guard_write(task, GUARDED.dir_entries, oldDir.i_rwsem);
  if (!dentry.isNegative) await (isDir ? rmdir(task, newDir, dentry) : removeName(task, newDir, dentry));
  simple_offset_remove(offsetsOf(oldDir), old);
  simple_offset_add(offsetsOf(newDir), old);
  if (isDir && oldDir !== newDir) {
    drop_nlink(oldDir);
    inc_nlink(newDir);
  }
  dir_changed(oldDir);
  dir_changed(newDir);
}

function dirOperations(changes: Changes): inode_operations {
  return {
    lookup: (task, dir, dentry) => {
      guard_read(task, GUARDED.dir_entries, dir.i_rwsem);
      d_add(task, dentry, undefined);
      return undefined;
    },
    create: (task, dir, dentry, mode) =>
      addName(task, dir, dentry, newInode(task, dir.i_sb, dir, S_IFREG | (mode & 0o7777), changes)),
    mkdir: (task, dir, dentry, mode) => {
      inc_nlink(dir);
      addName(task, dir, dentry, newInode(task, dir.i_sb, dir, S_IFDIR | (mode & 0o7777), changes));
    },
    link: (task, old, dir, dentry) => {
      const inode = inodeOf(old);
      inc_nlink(inode);
      ihold(inode);
      addName(task, dir, dentry, inode);
    },
    unlink: removeName,
    rmdir,
    rename,
    setattr: (_task, dentry, attr) => setattr_copy(inodeOf(dentry), attr),
    get_offset_ctx: (_task, inode) => offsetsOf(inode),
    ...changes.dir,
  };
}

/** The filesystem type, with what a wrong one changes. */
export function plainfs(name: string, changes: Changes = {}): FileSystemType {
  return {
    name,
    ...changes.type,
    fill_super: (task, sb) => {
      sb.s_magic = 0x70_6c_61_6e;
      sb.s_maxbytes = FILE_PAGES * PAGE_SIZE;
      sb.s_op = { statfs: simple_statfs, ...changes.super };
      sb.s_d_op = { ...changes.dentry };
      sb.s_xattr = changes.xattr ?? [];
      sb.s_root = d_make_root(task, newInode(task, sb, undefined, S_IFDIR | 0o755, changes));
    },
  };
}
