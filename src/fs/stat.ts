/** Attributes as callers see them (fs/stat.c). */

import { inode_operations } from '../contract/inode.js';
import { invoke } from '../locking/context.js';
import type { Awaitable } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { STATX_ATTR_APPEND, STATX_ATTR_IMMUTABLE } from '../uapi/stat.js';
import type { Dentry } from './dentry.js';
import { type Inode, S_APPEND, S_IMMUTABLE } from './inode.js';
import { ctime_seen } from './time.js';
import type { Kstat } from './types.js';

/** What the VFS itself knows (KSTAT_ATTR_VFS_FLAGS). */
const VFS_ATTRIBUTES = STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND;

/**
 * The attributes that the VFS itself keeps (generic_fillattr, generic_fill_statx_attr). A later change will show another ctime than this.
 * Takes no lock.
 */
export function generic_fillattr(inode: Inode): Kstat {
  ctime_seen(inode);
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
    attributes_mask: VFS_ATTRIBUTES,
  };
}

/**
 * stat(2), statx(2) (vfs_getattr).
 * @param requestMask STATX_* that the caller wants
 * @param queryFlags AT_STATX_FORCE_SYNC, AT_STATX_DONT_SYNC
 * @throws ENOENT for a negative dentry; what ->getattr throws
 */
export function vfs_getattr(task: Task, dentry: Dentry, requestMask: number, queryFlags: number): Awaitable<Kstat> {
  const inode = dentry.d_inode;
  if (inode === undefined) throw errno('ENOENT');
  const { getattr } = inode.i_op;
  if (getattr === undefined) return generic_fillattr(inode);
  return invoke(task, inode_operations.getattr, { inode: inode.i_rwsem }, getattr, dentry, requestMask, queryFlags);
}
