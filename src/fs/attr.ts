/** Changing attributes (fs/attr.c). */
import { inode_operations } from '../contract/inode.js';
import { call, take } from '../locking/context.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { Dentry } from './dentry.js';
import type { File } from './file.js';
import { inGroup, mark_inode_dirty } from './icache.js';
import { I_DIRTY_SYNC, I_MUTEX_NORMAL, type Inode, S_APPEND, S_IMMUTABLE } from './inode.js';
import { inode_permission, isDir, MAY_WRITE } from './permission.js';
import { SB_RDONLY } from './super-block.js';
import { current_time } from './time.js';
import type { Iattr } from './types.js';

const S_ISUID = 0o4000;
const S_ISGID = 0o2000;
const S_IXGRP = 0o010;

function owns(task: Task, inode: Inode): boolean {
  return task.cred.uid === inode.i_uid || task.cred.capable('CAP_FOWNER');
}

/**
 * May the caller change this (setattr_prepare)? Also drops the setgid bit of a mode that the caller may not give.
 * @throws EPERM EFBIG EACCES
 */
export function setattr_prepare(task: Task, dentry: Dentry, attr: Iattr): Awaitable<void> {
  const inode = dentry.d_inode;
  if (inode === undefined) throw errno('ENOENT');
  if (attr.size !== undefined && attr.size > inode.i_sb.s_maxbytes) throw errno('EFBIG');
  if (attr.force === true || inode.i_sb.kernelChecksPermissions) return undefined;
  const { cred } = task;
  if (attr.uid !== undefined && !cred.capable('CAP_CHOWN')) {
    if (cred.uid !== inode.i_uid || attr.uid !== inode.i_uid) throw errno('EPERM');
  }
  if (attr.gid !== undefined && !cred.capable('CAP_CHOWN')) {
    const member = attr.gid === inode.i_gid || attr.gid === cred.gid || cred.groups().includes(attr.gid);
    if (cred.uid !== inode.i_uid || !member) throw errno('EPERM');
  }
  if (attr.mode !== undefined) {
    if (!owns(task, inode)) throw errno('EPERM');
    if (!inGroup(task, attr.gid ?? inode.i_gid)) attr.mode &= ~S_ISGID;
  }
  const setTimes = typeof attr.atime === 'object' || typeof attr.mtime === 'object';
  if (setTimes && !owns(task, inode)) throw errno('EPERM');
  const touch = attr.atime === 'now' || attr.mtime === 'now';
  if (touch && !owns(task, inode)) return inode_permission(task, inode, MAY_WRITE);
  return undefined;
}

/** Put the new attributes, but the size, into the inode (setattr_copy). */
export function setattr_copy(inode: Inode, attr: Iattr): void {
  const now = current_time(inode);
  if (attr.uid !== undefined) inode.i_uid = attr.uid;
  if (attr.gid !== undefined) inode.i_gid = attr.gid;
  if (attr.mode !== undefined) inode.i_mode = (inode.i_mode & 0o170000) | (attr.mode & 0o7777);
  if (attr.atime !== undefined) inode.i_atime = attr.atime === 'now' ? now : attr.atime;
  if (attr.mtime !== undefined) inode.i_mtime = attr.mtime === 'now' ? now : attr.mtime;
  inode.i_ctime = attr.ctime ?? now;
}

/** The mode without the bits that a change of owner or a write takes away (should_remove_suid). */
function withoutSuid(inode: Inode): number {
  let mode = inode.i_mode & ~S_ISUID;
  if ((mode & (S_ISGID | S_IXGRP)) === (S_ISGID | S_IXGRP)) mode &= ~S_ISGID;
  return mode & 0o7777;
}

/** What changes with what was asked for: chown and truncate by others take setuid and setgid away. */
function complete(inode: Inode, given: Iattr): Iattr {
  const attr = { ...given };
  const chown = attr.uid !== undefined || attr.gid !== undefined;
  if ((chown || attr.kill_suidgid === true) && !isDir(inode) && attr.mode === undefined) {
    const mode = withoutSuid(inode);
    if (mode !== (inode.i_mode & 0o7777)) attr.mode = mode;
  }
  if (attr.size !== undefined && attr.mtime === undefined) attr.mtime = 'now';
  return attr;
}

/**
 * Change attributes (notify_change). Takes i_rwsem exclusively.
 * @throws EPERM EACCES EROFS EFBIG ENOSPC; EISDIR and EINVAL for the size of what is not a regular file
 */
export function notify_change(task: Task, dentry: Dentry, given: Iattr): Awaitable<void> {
  const inode = dentry.d_inode;
  const setattr = inode?.i_op.setattr;
  if (inode === undefined) throw errno('ENOENT');
  if ((inode.i_sb.s_flags & SB_RDONLY) !== 0) throw errno('EROFS');
  if (setattr === undefined) throw errno('EPERM');
  if (given.size !== undefined) checkSize(inode, given.size);
  const owned = given.mode !== undefined || given.uid !== undefined || given.gid !== undefined;
  const timesSet = typeof given.atime === 'object' || typeof given.mtime === 'object';
  if ((owned || timesSet) && (inode.i_flags & (S_IMMUTABLE | S_APPEND)) !== 0) throw errno('EPERM');
  if ((inode.i_flags & S_IMMUTABLE) !== 0) throw errno('EPERM');
  return andThen(take(task, inode_operations.setattr, 'inode', inode.i_rwsem, I_MUTEX_NORMAL), async (held) => {
    try {
      const attr = complete(inode, given);
      await setattr_prepare(task, dentry, attr);
      await call(task, inode_operations.setattr, { inode: inode.i_rwsem }, () => setattr(task, dentry, attr));
    } finally {
      held.release();
    }
  });
}

function checkSize(inode: Inode, size: number): void {
  if (isDir(inode)) throw errno('EISDIR');
  if ((inode.i_mode & 0o170000) !== 0o100000) throw errno('EINVAL');
  if ((inode.i_flags & (S_APPEND | S_IMMUTABLE)) !== 0) throw errno('EPERM');
  if (size > inode.i_sb.s_maxbytes) throw errno('EFBIG');
}

/** truncate(2) after its permission checks (do_truncate). */
export function do_truncate(task: Task, dentry: Dentry, size: number, file: File | undefined): Awaitable<void> {
  return notify_change(task, dentry, file === undefined ? { size, open: true } : { size, file });
}

/** A write takes setuid and setgid away (file_remove_privs). With i_rwsem held or not: it changes the mode only. */
export function file_remove_privs(task: Task, _dentry: Dentry, inode: Inode): Awaitable<void> {
  if (isDir(inode)) return undefined;
  const mode = withoutSuid(inode);
  if (mode === (inode.i_mode & 0o7777)) return undefined;
  inode.i_mode = (inode.i_mode & 0o170000) | mode;
  inode.i_ctime = current_time(inode);
  return mark_inode_dirty(task, inode, I_DIRTY_SYNC);
}
