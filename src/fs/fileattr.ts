/** The flags of chattr and the project of a file (fs/file_attr.c): two ways to say the same, and who may change what. */

import { inode_operations } from '../contract/inode.js';
import { call, take } from '../locking/context.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import {
  FS_APPEND_FL,
  FS_DAX_FL,
  FS_IMMUTABLE_FL,
  FS_NOATIME_FL,
  FS_NODUMP_FL,
  FS_PROJINHERIT_FL,
  FS_SYNC_FL,
  FS_XFLAG_APPEND,
  FS_XFLAG_COWEXTSIZE,
  FS_XFLAG_DAX,
  FS_XFLAG_EXTSIZE,
  FS_XFLAG_EXTSZINHERIT,
  FS_XFLAG_IMMUTABLE,
  FS_XFLAG_NOATIME,
  FS_XFLAG_NODUMP,
  FS_XFLAG_PROJINHERIT,
  FS_XFLAG_SYNC,
} from '../uapi/fs.js';
import { S_IFMT, S_IFREG } from '../uapi/stat.js';
import { type Dentry, inodeOf } from './dentry.js';
import { I_MUTEX_NORMAL, type Inode, isDir } from './inode.js';
import { inode_owner_or_capable } from './inode-owner.js';
import { assert_sb_write_started, mnt_want_write, sb_end_write } from './super-freeze.js';
import type { FileAttr } from './types.js';

/** The flags that both interfaces have: [FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR]. */
const COMMON: readonly (readonly [number, number])[] = [
  [FS_SYNC_FL, FS_XFLAG_SYNC],
  [FS_IMMUTABLE_FL, FS_XFLAG_IMMUTABLE],
  [FS_APPEND_FL, FS_XFLAG_APPEND],
  [FS_NODUMP_FL, FS_XFLAG_NODUMP],
  [FS_NOATIME_FL, FS_XFLAG_NOATIME],
  [FS_PROJINHERIT_FL, FS_XFLAG_PROJINHERIT],
  [FS_DAX_FL, FS_XFLAG_DAX],
];
const COMMON_FLAGS = COMMON.reduce((all, [flag]) => all | flag, 0);
const COMMON_XFLAGS = COMMON.reduce((all, [, xflag]) => all | xflag, 0);

function xflagsOf(flags: number): number {
  return COMMON.reduce((all, [flag, xflag]) => ((flags & flag) !== 0 ? all | xflag : all), 0);
}

function flagsOf(xflags: number): number {
  return COMMON.reduce((all, [flag, xflag]) => ((xflags & xflag) !== 0 ? all | flag : all), 0);
}

/** Attributes after FS_IOC_SETFLAGS: what only the other interface has stays (fileattr_fill_flags). */
export function fileattr_fill_flags(old: FileAttr, flags: number): FileAttr {
  return { ...old, flags, fsx_xflags: (old.fsx_xflags & ~COMMON_XFLAGS) | xflagsOf(flags) };
}

/** Attributes after FS_IOC_FSSETXATTR: what only the other interface has stays (fileattr_fill_xflags). */
export function fileattr_fill_xflags(
  old: FileAttr,
  wanted: Pick<FileAttr, 'fsx_xflags' | 'fsx_extsize' | 'fsx_projid' | 'fsx_cowextsize'>,
): FileAttr {
  return { ...old, ...wanted, flags: (old.flags & ~COMMON_FLAGS) | flagsOf(wanted.fsx_xflags) };
}

/** What the filesystem says, with the flags in both forms. */
function both(attr: FileAttr): FileAttr {
  return { ...attr, fsx_xflags: attr.fsx_xflags | xflagsOf(attr.flags), flags: attr.flags | flagsOf(attr.fsx_xflags) };
}

/** The flags and the project of a file (vfs_fileattr_get). @throws ENOTTY where the filesystem has none */
export async function vfs_fileattr_get(task: Task, dentry: Dentry): Promise<FileAttr> {
  const inode = inodeOf(dentry);
  const { fileattr_get } = inode.i_op;
  if (fileattr_get === undefined) throw errno('ENOTTY');
  const participants = { 'inode/get': inode.i_rwsem };
  return both(await call(task, inode_operations.fileattr_get, participants, () => fileattr_get(task, dentry)));
}

/** @throws EPERM EINVAL (fileattr_set_prepare) */
function fileattr_set_prepare(task: Task, inode: Inode, old: FileAttr, attr: FileAttr): void {
  const guarded = FS_IMMUTABLE_FL | FS_APPEND_FL;
  if (((old.flags ^ attr.flags) & guarded) !== 0 && !task.cred.capable('CAP_LINUX_IMMUTABLE')) throw errno('EPERM');
  const { fsx_xflags: xflags } = attr;
  const isReg = (inode.i_mode & S_IFMT) === S_IFREG;
  if ((xflags & FS_XFLAG_EXTSIZE) !== 0 && !isReg) throw errno('EINVAL');
  if ((xflags & FS_XFLAG_EXTSZINHERIT) !== 0 && !isDir(inode)) throw errno('EINVAL');
  if ((xflags & FS_XFLAG_COWEXTSIZE) !== 0 && !isReg && !isDir(inode)) throw errno('EINVAL');
  // A hint of size without the flag that says it counts means nothing.
  if ((xflags & (FS_XFLAG_EXTSIZE | FS_XFLAG_EXTSZINHERIT)) === 0) attr.fsx_extsize = 0;
  if ((xflags & FS_XFLAG_COWEXTSIZE) === 0) attr.fsx_cowextsize = 0;
}

/**
 * Change the flags or the project of a file (vfs_fileattr_set). Takes i_rwsem exclusively, as the row says.
 * @param change makes the new attributes of the old
 * @throws ENOTTY EROFS; EPERM unless the caller owns the file, and for the immutable and append-only flags without CAP_LINUX_IMMUTABLE;
 * EOPNOTSUPP EINVAL
 */
export async function vfs_fileattr_set(task: Task, dentry: Dentry, change: (old: FileAttr) => FileAttr): Promise<void> {
  const inode = inodeOf(dentry);
  const { fileattr_set, fileattr_get } = inode.i_op;
  if (fileattr_set === undefined || fileattr_get === undefined) throw errno('ENOTTY');
  const writing = await mnt_want_write(task, inode.i_sb);
  try {
    await fileattr_set_locked(task, dentry, inode, change);
  } finally {
    sb_end_write(writing);
  }
}

async function fileattr_set_locked(
  task: Task,
  dentry: Dentry,
  inode: Inode,
  change: (old: FileAttr) => FileAttr,
): Promise<void> {
  const { fileattr_set, fileattr_get } = inode.i_op;
  if (fileattr_set === undefined || fileattr_get === undefined) throw errno('ENOTTY');
  if (!inode_owner_or_capable(task, inode)) throw errno('EPERM');
  using _held = await take(task, inode_operations.fileattr_set, 'inode', inode.i_rwsem, I_MUTEX_NORMAL);
  const old = both(
    await call(task, inode_operations.fileattr_get, { 'inode/set': inode.i_rwsem }, () => fileattr_get(task, dentry)),
  );
  const attr = change(old);
  assert_sb_write_started(task, inode.i_sb);
  fileattr_set_prepare(task, inode, old, attr);
  await call(task, inode_operations.fileattr_set, { inode: inode.i_rwsem }, () => fileattr_set(task, dentry, attr));
}
