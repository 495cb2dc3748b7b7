/** Changing attributes (fs/attr.c). */

import { inode_operations } from '../contract/inode.js';
import { call, invoke, take } from '../locking/context.js';
import { type Exclusive, type Held, release_held } from '../locking/held.js';
import type { AddressSpace } from '../mm/address-space.js';
import type { Folio } from '../mm/folio.js';
import { truncate_pagecache } from '../mm/truncate.js';
import { check_after_setsize, pages_behind } from '../mm/truncate-check.js';
import { type Awaitable, andThen, withCleanup } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { O_WRONLY } from '../uapi/fcntl.js';
import { S_IFLNK, S_IFMT, S_IFREG, S_ISGID } from '../uapi/stat.js';
import { has_caps, mode_without_suidgid, remove_caps } from './attr-privs.js';
import { type Dentry, inodeOf } from './dentry.js';
import { type File, FMODE_WRITE } from './file.js';
import { get_write_access, put_write_access } from './file-table.js';
import { I_MUTEX_NORMAL, type Inode, inode_attrs, isDir, S_APPEND, S_IMMUTABLE, S_SWAPFILE } from './inode.js';
import { inGroup, inode_owner_or_capable } from './inode-owner.js';
import { break_lease, try_break_deleg, waiting_for_delegations } from './locks/break-lease.js';
import { inode_permission, MAY_WRITE } from './namei/permission.js';
import { assert_sb_write_started, mnt_want_write, sb_end_write, type Writing, withWrite } from './super-freeze.js';
import { inode_set_ctime_current, timestamp_truncate } from './time.js';
import type { Iattr } from './types.js';

/**
 * May the file become as long as that (inode_newsize_ok)? @param rlimit the caller's RLIMIT_FSIZE, bytes
 * @throws EFBIG where it would grow beyond a limit; ETXTBSY where a swap file would shrink
 */
export function inode_newsize_ok(inode: Inode, size: number, rlimit = Number.POSITIVE_INFINITY): void {
  if (size > inode.i_size) {
    if (size > rlimit || size > inode.i_sb.s_maxbytes) throw errno('EFBIG');
  } else if ((inode.i_flags & S_SWAPFILE) !== 0) throw errno('ETXTBSY');
}

/** May the caller give the file to that user? Only root may, or nobody changes anything (chown_ok). */
function chown_ok(task: Task, inode: Inode, uid: number): boolean {
  return (task.cred.uid === inode.i_uid && uid === inode.i_uid) || task.cred.capable('CAP_CHOWN');
}

/** May the caller give the file to that group? The owner may to a group of its own (chgrp_ok). */
function chgrp_ok(task: Task, inode: Inode, gid: number): boolean {
  const { cred } = task;
  if (cred.uid === inode.i_uid && (gid === inode.i_gid || gid === cred.gid || cred.groups().includes(gid))) return true;
  return cred.capable('CAP_CHOWN');
}

/**
 * May the caller change this (setattr_prepare)? Takes the setgid bit out of `attr.mode` where the caller may not give it. i_rwsem is held
 * exclusively. Where the kernel has checked permissions before, only the size is checked.
 * @throws EPERM EFBIG ETXTBSY
 */
export function setattr_prepare(task: Task, dentry: Dentry, attr: Iattr): void {
  const inode = inodeOf(dentry);
  if (attr.size !== undefined) inode_newsize_ok(inode, attr.size);
  if (attr.force === true || task.permitted || flushesTimes(attr)) return;
  if (attr.uid !== undefined && !chown_ok(task, inode, attr.uid)) throw errno('EPERM');
  if (attr.gid !== undefined && !chgrp_ok(task, inode, attr.gid)) throw errno('EPERM');
  if (attr.mode !== undefined) {
    if (!inode_owner_or_capable(task, inode)) throw errno('EPERM');
    if ((attr.mode & S_ISGID) !== 0 && !inGroup(task, attr.gid ?? inode.i_gid)) attr.mode &= ~S_ISGID;
  }
  if (setsTimes(attr) && !inode_owner_or_capable(task, inode)) throw errno('EPERM');
}

/** Times of the caller's choice are set, or only one of the two (ATTR_TIMES_SET). */
function setsTimes(attr: Iattr): boolean {
  if (touches(attr)) return false;
  if (typeof attr.atime === 'object' || typeof attr.mtime === 'object') return true;
  // UTIME_NOW of one with UTIME_OMIT of the other counts as a choice (vfs_utimes).
  return attr.size === undefined && (attr.atime === 'now') !== (attr.mtime === 'now');
}

/**
 * The kernel with its writeback cache hands over the times of writes that it kept: not a request of anybody's, and through a file open for writing.
 */
function flushesTimes(attr: Iattr): boolean {
  if (attr.ctime === undefined || typeof attr.mtime !== 'object' || attr.file === undefined) return false;
  const others = attr.mode ?? attr.uid ?? attr.gid ?? attr.size ?? attr.atime;
  return others === undefined && (attr.file.f_mode & FMODE_WRITE) !== 0;
}

/** Both times become now: a writer may, too (ATTR_TOUCH). The kernel with its writeback cache says itself which moment that is, as mtime and ctime. */
function touches({ atime, mtime, ctime }: Iattr): boolean {
  if (atime !== 'now') return false;
  return mtime === 'now' || (mtime !== undefined && mtime.sec === ctime?.sec && mtime.nsec === ctime.nsec);
}

/**
 * Put the new attributes, but the size, into the inode (setattr_copy). i_rwsem is held exclusively; the caller marks the inode dirty.
 */
export function setattr_copy(task: Task, inode: Inode, attr: Iattr): void {
  const attrs = inode_attrs(task, inode);
  const now = inode_set_ctime_current(inode);
  if (attr.uid !== undefined) attrs.i_uid = attr.uid;
  if (attr.gid !== undefined) attrs.i_gid = attr.gid;
  if (attr.mode !== undefined) attrs.i_mode = (inode.i_mode & S_IFMT) | (attr.mode & 0o7777);
  if (attr.atime !== undefined) inode.i_atime = attr.atime === 'now' ? now : timestamp_truncate(attr.atime, inode);
  if (attr.mtime !== undefined) inode.i_mtime = attr.mtime === 'now' ? now : timestamp_truncate(attr.mtime, inode);
  if (attr.ctime !== undefined) inode.i_ctime = timestamp_truncate(attr.ctime, inode);
}

/**
 * What flags of the file and permissions to write say (may_setattr, and vfs_truncate for the size). Without i_rwsem, because permission is
 * called without it.
 * @throws EPERM EACCES EROFS EISDIR EINVAL
 */
function may_setattr(task: Task, inode: Inode, attr: Iattr): Awaitable<void> {
  if (flushesTimes(attr)) return undefined;
  const changes = attr.mode !== undefined || attr.uid !== undefined || attr.gid !== undefined || setsTimes(attr);
  if (changes && (inode.i_flags & (S_IMMUTABLE | S_APPEND)) !== 0) throw errno('EPERM');
  if (attr.size !== undefined) return may_truncate(task, inode, attr);
  if (!touches(attr)) return undefined;
  if ((inode.i_flags & S_IMMUTABLE) !== 0) throw errno('EPERM');
  return inode_owner_or_capable(task, inode) ? undefined : inode_permission(task, inode, MAY_WRITE);
}

function may_truncate(task: Task, inode: Inode, attr: Iattr): Awaitable<void> {
  if (isDir(inode)) throw errno('EISDIR');
  if ((inode.i_mode & S_IFMT) !== S_IFREG) throw errno('EINVAL');
  if ((inode.i_flags & (S_APPEND | S_IMMUTABLE)) !== 0) throw errno('EPERM');
  // An open file was checked when it was opened.
  if (attr.file !== undefined || attr.open === true || attr.force === true) return undefined;
  return inode_permission(task, inode, MAY_WRITE);
}

/** Nothing is to be set but the ctime: chown(2) with both ids left as they are, which still takes setuid and setgid away (chown_common). */
export function sets_nothing(attr: Iattr): boolean {
  return Object.keys(attr).every((key) => key === 'file' || key === 'ctime');
}

function chowns(attr: Iattr): boolean {
  return attr.uid !== undefined || attr.gid !== undefined || sets_nothing(attr);
}

/**
 * What changes with what was asked for: chown and truncation take setuid and setgid away, truncation moves mtime.
 * @throws EPERM where chown(2) of nobody to nobody takes them from somebody else's file
 */
function complete(task: Task, inode: Inode, given: Iattr): Iattr {
  const attr = { ...given };
  const chown = chowns(given);
  if ((chown || attr.kill_suidgid === true) && attr.mode === undefined) {
    const mode = mode_without_suidgid(task, inode);
    if (mode !== (inode.i_mode & 0o7777)) {
      if (sets_nothing(given) && !inode_owner_or_capable(task, inode)) throw errno('EPERM');
      attr.mode = mode;
      // It follows from the rest and is not asked for: whether the caller may chmod does not matter.
      if (!chown) attr.force = true;
    }
  }
  if (attr.size !== undefined && attr.mtime === undefined && (attr.open === true || attr.size !== inode.i_size)) {
    attr.mtime = 'now';
  }
  return attr;
}

/**
 * Change attributes (notify_change). Takes i_rwsem exclusively, as the row of setattr says.
 * @throws EPERM EACCES EROFS EFBIG ENOSPC; EOPNOTSUPP for the mode of a symlink; EISDIR and EINVAL for the size of what is not a regular
 * file; ETXTBSY
 */
export function notify_change(task: Task, dentry: Dentry, given: Iattr): Awaitable<void> {
  const inode = inodeOf(dentry);
  if (given.mode !== undefined && (inode.i_mode & S_IFMT) === S_IFLNK) throw errno('EOPNOTSUPP');
  return waiting_for_delegations(changeOnce, task, dentry, given);
}

function changeOnce(task: Task, dentry: Dentry, given: Iattr): Awaitable<void> {
  return andThen(mnt_want_write(task, inodeOf(dentry).i_sb), changeAsWriter, task, dentry, given);
}

function changeAsWriter(writing: Writing, task: Task, dentry: Dentry, given: Iattr): Awaitable<void> {
  return withCleanup(checkAndChange, sb_end_write, writing, task, dentry, given);
}

function checkAndChange(_writing: Writing, task: Task, dentry: Dentry, given: Iattr): Awaitable<void> {
  const may = may_setattr(task, inodeOf(dentry), given);
  return andThen(andThen(may, losesCaps, task, dentry, given), lockAndChange, task, dentry, given);
}

/** Whether the file has capabilities that go with this change. */
function losesCaps(_may: void, task: Task, dentry: Dentry, given: Iattr): Awaitable<boolean> {
  return (chowns(given) || given.size !== undefined) && has_caps(task, dentry, inodeOf(dentry));
}

function lockAndChange(caps: boolean, task: Task, dentry: Dentry, given: Iattr): Awaitable<void> {
  const locked = take(task, inode_operations.setattr, 'inode', inodeOf(dentry).i_rwsem, I_MUTEX_NORMAL);
  return andThen(locked, changeLocked, task, dentry, given, caps);
}

function changeLocked(held: Held, task: Task, dentry: Dentry, given: Iattr, caps: boolean): Awaitable<void> {
  return withCleanup(notify_change_locked, release_held, held, task, dentry, given, caps);
}

/** As notify_change after its checks of flags, with i_rwsem held exclusively. @param caps the file has capabilities, which go */
function notify_change_locked(_held: Held, task: Task, dentry: Dentry, given: Iattr, caps: boolean): Awaitable<void> {
  const inode = inodeOf(dentry);
  if (inode.i_op.setattr === undefined) throw errno('EPERM');
  assert_sb_write_started(task, inode.i_sb);
  // Who may is a question about what was asked for; what follows from it is not asked.
  const asked = { ...given };
  setattr_prepare(task, dentry, asked);
  try_break_deleg(task, inode);
  const attr = complete(task, inode, asked);
  return andThen(caps ? remove_caps(task, dentry, inode) : undefined, callSetattr, task, dentry, inode, attr);
}

function callSetattr(_removed: unknown, task: Task, dentry: Dentry, inode: Inode, attr: Iattr): Awaitable<void> {
  const { setattr } = inode.i_op;
  if (setattr === undefined) throw errno('EPERM');
  const { mappingIfAny: mapping } = inode;
  const { size } = attr;
  const behind = size === undefined ? undefined : pages_behind(task, mapping, size);
  const done = invoke(task, inode_operations.setattr, { inode: inode.i_rwsem }, setattr, dentry, attr);
  if (mapping === undefined || behind === undefined || size === undefined) return done;
  return andThen(done, checkSize, task, mapping, behind, size, setattr);
}

function checkSize(
  _done: void,
  task: Task,
  mapping: AddressSpace,
  behind: readonly Folio[],
  size: number,
  setattr: object,
): void {
  check_after_setsize(task, mapping, behind, size, inode_operations.setattr, setattr);
}

/**
 * Cut or extend a file to `size` bytes after permissions were checked (do_truncate): open(O_TRUNC) where `file` is undefined, else ftruncate(2).
 * @throws as notify_change; EINVAL for a negative size
 */
export function do_truncate(task: Task, dentry: Dentry, size: number, file: File | undefined): Awaitable<void> {
  if (size < 0) throw errno('EINVAL');
  const kill_suidgid = !task.cred.capable('CAP_FSETID');
  const attr: Iattr = file === undefined ? { size, open: true } : { size, file, mtime: 'now' };
  return notify_change(task, dentry, { ...attr, kill_suidgid });
}

/**
 * A file has its new size: the pages behind it go, then the blocks (vmtruncate, as ->truncate was called before each filesystem did it by itself). For a
 * filesystem's setattr, with i_rwsem held exclusively.
 * @throws what ->truncate throws
 */
export async function vmtruncate(task: Task, inode: Inode, held: Exclusive<'invalidate_lock'>): Promise<void> {
  await truncate_pagecache(task, inode.i_mapping, inode.i_size, held);
  const { truncate } = inode.i_op;
  if (truncate === undefined) return;
  await call(task, inode_operations.truncate, { inode: inode.i_rwsem }, () => truncate(task, inode));
}

/**
 * truncate(2) of a name, with its permission checks (vfs_truncate). Leases are broken and waited for.
 * @throws EISDIR EINVAL EROFS EACCES EPERM ETXTBSY; EINTR while waiting for a lease; and as notify_change
 */
export function vfs_truncate(task: Task, dentry: Dentry, size: number): Awaitable<void> {
  const inode = inodeOf(dentry);
  if (size < 0) throw errno('EINVAL');
  if (isDir(inode)) throw errno('EISDIR');
  if ((inode.i_mode & S_IFMT) !== S_IFREG) throw errno('EINVAL');
  return withWrite(task, inode.i_sb, () =>
    andThen(inode_permission(task, inode, MAY_WRITE), () => {
      if ((inode.i_flags & S_APPEND) !== 0) throw errno('EPERM');
      get_write_access(inode);
      return withCleanup(
        () =>
          andThen(break_lease(task, inode, O_WRONLY), () =>
            notify_change(task, dentry, { size, kill_suidgid: !task.cred.capable('CAP_FSETID') }),
          ),
        () => put_write_access(inode),
      );
    }),
  );
}
