/** Attributes as callers see them (fs/stat.c). */
import { inode_operations } from '../contract/inode.js';
import { call } from '../locking/context.js';
import type { Awaitable } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { Dentry } from './dentry.js';
import { type Inode, S_APPEND, S_IMMUTABLE } from './inode.js';
import type { Kstat } from './types.js';

const STATX_ATTR_IMMUTABLE = 0x10;
const STATX_ATTR_APPEND = 0x20;

/** The attributes that the VFS itself keeps (generic_fillattr). */
export function generic_fillattr(inode: Inode): Kstat {
  return {
    ino: inode.i_ino,
    mode: inode.i_mode,
    nlink: inode.i_nlink,
    uid: inode.i_uid,
    gid: inode.i_gid,
    rdev: inode.i_rdev,
    size: inode.i_size,
    blocks: inode.i_blocks,
    blksize: inode.i_sb.s_blocksize,
    atime: inode.i_atime,
    mtime: inode.i_mtime,
    ctime: inode.i_ctime,
    btime: inode.i_btime,
    attributes:
      ((inode.i_flags & S_IMMUTABLE) !== 0 ? STATX_ATTR_IMMUTABLE : 0) |
      ((inode.i_flags & S_APPEND) !== 0 ? STATX_ATTR_APPEND : 0),
    attributes_mask: STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND,
  };
}

/** stat(2) (vfs_getattr). @throws ENOENT for a negative dentry */
export function vfs_getattr(task: Task, dentry: Dentry, requestMask: number, queryFlags: number): Awaitable<Kstat> {
  const inode = dentry.d_inode;
  if (inode === undefined) throw errno('ENOENT');
  const { getattr } = inode.i_op;
  return call(task, inode_operations.getattr, { inode: inode.i_rwsem }, () =>
    getattr === undefined ? generic_fillattr(inode) : getattr(task, dentry, requestMask, queryFlags),
  );
}
