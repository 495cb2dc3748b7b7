/**
 * Files in the page cache and names in the dcache, nothing else (fs/ramfs/inode.c): the smallest filesystem that is complete, and the one to begin with who writes
 * another. ramfs/ is a second filesystem, beside latch; it may import fs/ and below.
 *
 * What takes which lock is said by the contract; of what is here only simple_setattr, for invalidate_lock, takes one by itself.
 */

import type { BlockDevice } from '../block/block-device.js';
import { d_make_root, d_tmpfile } from '../fs/dcache-alias.js';
import { insert_inode_locked, new_inode, unlock_new_inode } from '../fs/icache.js';
import { Inode, i_size_init, inode_init } from '../fs/inode.js';
import { inode_init_owner } from '../fs/inode-owner.js';
import {
  kill_litter_super,
  noop_fsync,
  OffsetCtx,
  simple_get_link,
  simple_getattr,
  simple_lookup,
  simple_offset_dentry_operations,
  simple_offset_dir_operations,
  simple_setattr,
  simple_super_operations,
} from '../fs/libfs.js';
import { simple_instantiate, simple_link, simple_rename, simple_rmdir, simple_unlink } from '../fs/libfs-dir.js';
import { mmap_with } from '../fs/mmap.js';
import type { file_operations, inode_operations } from '../fs/operations.js';
import { generic_file_read_iter, generic_file_write_iter } from '../fs/read-write.js';
import { generic_file_llseek } from '../fs/seek.js';
import { copy_splice_read, iter_file_splice_write } from '../fs/splice.js';
import type { FileSystemType } from '../fs/super.js';
import type { SuperBlock } from '../fs/super-block.js';
import { current_time } from '../fs/time.js';
import { ram_aops } from '../mm/libfs.js';
import type { Task } from '../sched/task.js';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../uapi/stat.js';

const RAMFS_MAGIC = 0x858458f6;

/** What an inode has besides what every one has. */
class RamfsInode extends Inode {
  /** Of a directory: its entries. */
  readonly offsets = new OffsetCtx();
  static #last = 0;
  override i_ino = ++RamfsInode.#last;
}

/** A new inode, in the hash, with one reference (ramfs_get_inode). */
function ramfs_get_inode(task: Task, sb: SuperBlock, dir: Inode | undefined, mode: number, rdev = 0): Inode {
  const inode = new_inode(task, sb);
  inode_init_owner(task, inode, dir, mode);
  inode.i_rdev = rdev;
  inode.i_atime = inode.i_mtime = inode.i_ctime = inode.i_btime = current_time(inode);
  switch (mode & S_IFMT) {
    case S_IFDIR:
      inode_init(inode).i_nlink = 2;
      inode.i_op = ramfs_dir_inode_operations;
      inode.i_fop = simple_offset_dir_operations;
      break;
    case S_IFREG:
      inode.i_op = ramfs_file_inode_operations;
      inode.i_fop = ramfs_file_operations;
      inode.a_ops = ram_aops;
      break;
    case S_IFLNK:
      inode.i_op = ramfs_symlink_inode_operations;
      break;
    default:
      inode.i_op = ramfs_file_inode_operations;
  }
  insert_inode_locked(task, inode);
  unlock_new_inode(task, inode);
  return inode;
}

export const ramfs_dir_inode_operations: inode_operations = {
  lookup: simple_lookup,
  create: (task, dir, dentry, mode) =>
    simple_instantiate(task, dir, dentry, ramfs_get_inode(task, dir.i_sb, dir, S_IFREG | mode)),
  mkdir: (task, dir, dentry, mode) =>
    simple_instantiate(task, dir, dentry, ramfs_get_inode(task, dir.i_sb, dir, S_IFDIR | mode)),
  mknod: (task, dir, dentry, mode, rdev) =>
    simple_instantiate(task, dir, dentry, ramfs_get_inode(task, dir.i_sb, dir, mode, rdev)),
  symlink: (task, dir, dentry, target) => {
    const inode = ramfs_get_inode(task, dir.i_sb, dir, S_IFLNK | 0o777);
    inode.i_link = target;
    i_size_init(inode, target.length);
    simple_instantiate(task, dir, dentry, inode);
  },
  tmpfile: (task, dir, file, mode) => {
    const inode = ramfs_get_inode(task, dir.i_sb, dir, S_IFREG | mode);
    d_tmpfile(task, file.f_dentry, inode);
  },
  link: simple_link,
  unlink: simple_unlink,
  rmdir: simple_rmdir,
  rename: simple_rename,
  setattr: simple_setattr,
  get_offset_ctx: (_task, inode) => (inode as RamfsInode).offsets,
};

export const ramfs_file_inode_operations: inode_operations = { setattr: simple_setattr, getattr: simple_getattr };

const ramfs_symlink_inode_operations: inode_operations = { get_link: simple_get_link, setattr: simple_setattr };

export const ramfs_file_operations: file_operations = {
  llseek: (_task, file, offset, whence) => generic_file_llseek(file, offset, whence),
  read_iter: generic_file_read_iter,
  write_iter: generic_file_write_iter,
  mmap: (_task, file, vma) => mmap_with(file, vma, undefined),
  fsync: noop_fsync,
  splice_read: copy_splice_read,
  splice_write: iter_file_splice_write,
};

/** The filesystem type (ramfs_fs_type): `latchfs mount --type ramfs`. */
export const ramfs_fs_type: FileSystemType<BlockDevice | undefined> = {
  name: 'ramfs',
  fill_super: (task, sb) => {
    sb.s_magic = RAMFS_MAGIC;
    sb.s_maxbytes = Number.MAX_SAFE_INTEGER;
    sb.s_op = { ...simple_super_operations, alloc_inode: (sb) => new RamfsInode(sb) };
    sb.s_d_op = simple_offset_dentry_operations;
    sb.s_root = d_make_root(task, ramfs_get_inode(task, sb, undefined, S_IFDIR | 0o755));
  },
  kill_sb: kill_litter_super,
};
