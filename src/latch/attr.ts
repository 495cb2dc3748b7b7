/** Changing attributes, the size among them, and the flags of chattr. */

import { setattr_copy } from '../fs/attr.js';
import type { Dentry } from '../fs/dentry.js';
import { type Inode, inode_attrs, isDir } from '../fs/inode.js';
import { posix_acl_chmod } from '../fs/posix-acl-ops.js';
import { dquot_active } from '../fs/quota/charge.js';
import { dquot_transfer } from '../fs/quota/transfer.js';
import { generic_fillattr } from '../fs/stat.js';
import { IS_SYNC } from '../fs/sync-flags.js';
import { generic_update_time, inode_set_ctime_current } from '../fs/time.js';
import type { FileAttr, Iattr, Kstat } from '../fs/types.js';
import { GUARDED, guard_write } from '../locking/guarded.js';
import type { Awaitable } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { Timespec } from '../sched/time.js';
import { FS_CASEFOLD_FL, FS_IMMUTABLE_FL, FS_NODUMP_FL } from '../uapi/fs.js';
import { S_IFMT, S_IFREG, STATX_ATTR_NODUMP } from '../uapi/stat.js';
import { casefoldChanged } from './casefold.js';
import { ACQUIRE_CREDITS, initQuota } from './charge.js';
import { mask_flags, SETTABLE } from './flags.js';
import { INCOMPAT_CASEFOLD } from './format/superblock.js';
import { infoOf, type LatchInfo, with_handle } from './info.js';
import { applyFlags, type LatchInode, latchInode, set_aops } from './inode.js';
import { writeInode } from './inode-disk.js';
import { note_cached } from './secret.js';
import { setSize } from './truncate.js';

/** The id above it is none (INVALID_PROJID). */
const MAX_PROJECT = 0xfffffffe;

function inodeOf(dentry: Dentry): LatchInode {
  const { d_inode: inode } = dentry;
  if (inode === undefined) throw errno('ENOENT');
  return latchInode(inode);
}

/** A new owner, group or project is charged for what the file has, in the transaction that makes it theirs. @throws EDQUOT EIO */
async function changeHands(
  task: Task,
  inode: LatchInode,
  uid = inode.i_uid,
  gid = inode.i_gid,
  projid = inode.i_projid,
): Promise<void> {
  if (!dquot_active(inode)) return;
  if (uid === inode.i_uid && gid === inode.i_gid && projid === inode.i_projid) return;
  const info = infoOf(inode.i_sb);
  await initQuota(task, inode);
  await with_handle(
    task,
    info,
    async (handle) => {
      await dquot_transfer(task, inode, [uid, gid, projid]);
      const attrs = inode_attrs(task, inode);
      attrs.i_uid = uid;
      attrs.i_gid = gid;
      inode.i_projid = projid;
      await writeInode(task, handle, info, inode);
    },
    ACQUIRE_CREDITS,
  );
}

/** With i_rwsem held exclusively. @throws EIO ENOSPC EDQUOT */
export async function latch_setattr(task: Task, dentry: Dentry, attr: Iattr): Promise<void> {
  const inode = inodeOf(dentry);
  guard_write(task, GUARDED.i_attr, inode.i_rwsem);
  await changeHands(task, inode, attr.uid, attr.gid);
  if (attr.size !== undefined) await setSize(task, inode, attr.size);
  const info = infoOf(inode.i_sb);
  await with_handle(task, info, (handle) => {
    if (IS_SYNC(inode)) handle.sync = true;
    // A new size is a change of the contents, also where it is the old one (do_truncate).
    setattr_copy(task, inode, attr.size === undefined ? attr : { ...attr, mtime: attr.mtime ?? 'now' });
    return writeInode(task, handle, info, inode);
  });
  // The access list follows the mode.
  if (attr.mode !== undefined) await posix_acl_chmod(task, dentry, inode.i_mode);
}

/** What the VFS knows and the flags of chattr that only latch does (ext4_getattr). */
export function latch_getattr(_task: Task, dentry: Dentry): Kstat {
  const inode = inodeOf(dentry);
  const stat = generic_fillattr(inode);
  if ((inode.flags & FS_NODUMP_FL) !== 0) stat.attributes |= STATX_ATTR_NODUMP;
  stat.attributes_mask |= STATX_ATTR_NODUMP;
  return stat;
}

/**
 * Set times. They reach the device with the inode, or with the transaction that is open (btrfs_update_time).
 * @throws EROFS where the journal was aborted, EIO where the filesystem was shut down: they would never reach it
 */
export function latch_update_time(task: Task, inode: Inode, now: Timespec, flags: number): Awaitable<void> {
  const info = infoOf(inode.i_sb);
  info.assert_running();
  if (info.journal.error !== undefined) throw errno('EROFS');
  return generic_update_time(task, inode, now, flags);
}

/** ->fileattr_get (ext4_fileattr_get). */
export function fileattr_get(_task: Task, dentry: Dentry): FileAttr {
  const { flags, i_projid } = inodeOf(dentry);
  return { flags, fsx_xflags: 0, fsx_extsize: 0, fsx_nextents: 0, fsx_projid: i_projid, fsx_cowextsize: 0 };
}

/** What stays immutable stays as it is, its flags and its project too (ext4_ioctl_check_immutable). @throws EPERM */
function mayChange({ flags, i_projid }: LatchInode, attr: FileAttr): void {
  if ((flags & attr.flags & FS_IMMUTABLE_FL) === 0) return;
  if (attr.flags !== flags || attr.fsx_projid !== i_projid) throw errno('EPERM');
}

/**
 * ->fileattr_set (ext4_fileattr_set). With i_rwsem held exclusively.
 * @throws EPERM for an immutable file that is not made mutable; EOPNOTSUPP for flags that cannot be kept, or mean nothing for such a file; ENOTDIR, and ENOTEMPTY for FS_CASEFOLD_FL of a directory with entries; EINVAL for a project that is none; EDQUOT
 */
export async function fileattr_set(task: Task, dentry: Dentry, attr: FileAttr): Promise<void> {
  const inode = inodeOf(dentry);
  const info = infoOf(inode.i_sb);
  guard_write(task, GUARDED.i_attr, inode.i_rwsem);
  // Who asks for case to be disregarded is told more exactly what is wrong with that.
  const known = mask_flags(inode.i_mode, SETTABLE) | FS_CASEFOLD_FL;
  if ((attr.flags & ~known) !== 0) throw errno('EOPNOTSUPP');
  if (attr.fsx_projid > MAX_PROJECT) throw errno('EINVAL');
  mayChange(inode, attr);
  const refolds = ((attr.flags ^ inode.flags) & FS_CASEFOLD_FL) !== 0;
  if (refolds) await mayRefold(task, info, inode);
  await changeHands(task, inode, undefined, undefined, attr.fsx_projid);
  await with_handle(task, info, (handle) => {
    if (IS_SYNC(inode)) handle.sync = true;
    inode.i_projid = attr.fsx_projid;
    inode.flags = attr.flags;
    applyFlags(inode, inode_attrs(task, inode));
    if ((inode.i_mode & S_IFMT) === S_IFREG) {
      set_aops(inode);
      note_cached(inode);
    }
    inode_set_ctime_current(inode);
    return writeInode(task, handle, info, inode);
  });
  if (refolds) casefoldChanged(task, inode);
}

/** Names that are there would lie in the wrong places (ext4_ioctl_setflags). @throws EOPNOTSUPP ENOTDIR ENOTEMPTY */
async function mayRefold(task: Task, info: LatchInfo, inode: LatchInode): Promise<void> {
  if ((info.super.incompat & INCOMPAT_CASEFOLD) === 0) throw errno('EOPNOTSUPP');
  if (!isDir(inode)) throw errno('ENOTDIR');
  if (!(await inode.directory.isEmpty(task))) throw errno('ENOTEMPTY');
}
