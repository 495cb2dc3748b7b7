/** Extended attributes (fs/xattr.c). */

import { inode_operations } from '../contract/inode.js';
import { xattr_handler as rows } from '../contract/xattr.js';
import { invoke, take } from '../locking/context.js';
import { type Held, release_held } from '../locking/held.js';
import { type Awaitable, andThen, withCleanup } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { S_IFMT, S_IFREG, S_ISVTX } from '../uapi/stat.js';
import { XATTR_CREATE, XATTR_NAME_MAX, XATTR_REPLACE, XATTR_SIZE_MAX } from '../uapi/xattr.js';
import { type Dentry, inodeOf } from './dentry.js';
import { I_MUTEX_NORMAL, type Inode, inode_attrs, isDir, S_APPEND, S_IMMUTABLE, S_NOSEC } from './inode.js';
import { inode_owner_or_capable } from './inode-owner.js';
import { try_break_deleg, waiting_for_delegations } from './locks/break-lease.js';
import { inode_permission, MAY_READ, MAY_WRITE } from './namei/permission.js';
import type { AclType, xattr_handler } from './operations.js';
import { vfs_get_acl, vfs_set_acl } from './posix-acl-ops.js';
import {
  posix_acl_from_xattr,
  posix_acl_to_xattr,
  XATTR_NAME_POSIX_ACL_ACCESS,
  XATTR_NAME_POSIX_ACL_DEFAULT,
} from './posix-acl-xattr.js';
import { SB_POSIXACL } from './super-block.js';
import { assert_sb_write_started, mnt_want_write, sb_end_write, type Writing } from './super-freeze.js';

function checkName(name: string): void {
  if (name.length === 0 || name.length > XATTR_NAME_MAX) throw errno('ERANGE');
}

/** The list that an attribute stands for (posix_acl_type). */
function aclType(name: string): AclType | undefined {
  if (name === XATTR_NAME_POSIX_ACL_ACCESS) return 'access';
  return name === XATTR_NAME_POSIX_ACL_DEFAULT ? 'default' : undefined;
}

/** The handler of a full name and what follows its prefix (xattr_resolve_name). @throws EOPNOTSUPP EINVAL */
function resolve(inode: Inode, name: string): { readonly handler: xattr_handler; readonly suffix: string } {
  const handler = inode.i_sb.s_xattr.find((candidate) => name.startsWith(candidate.prefix));
  if (handler === undefined) throw errno('EOPNOTSUPP');
  const suffix = name.slice(handler.prefix.length);
  if (suffix === '') throw errno('EINVAL');
  return { handler, suffix };
}

/**
 * Who may use which namespace (xattr_permission, and cap_inode_setxattr for security.*). Without i_rwsem.
 * @param mask MAY_READ or MAY_WRITE
 * @throws EPERM ENODATA EACCES EROFS
 */
function xattr_permission(task: Task, inode: Inode, name: string, mask: number): Awaitable<void> {
  const write = mask === MAY_WRITE;
  if (write && (inode.i_flags & (S_IMMUTABLE | S_APPEND)) !== 0) throw errno('EPERM');
  if (name.startsWith('security.')) {
    const mayWrite = task.permitted || task.cred.capable('CAP_SYS_ADMIN');
    if (write && !mayWrite) throw errno('EPERM');
    return undefined;
  }
  if (name.startsWith('system.')) return undefined;
  if (name.startsWith('trusted.')) {
    if (!task.permitted && !task.cred.capable('CAP_SYS_ADMIN')) throw errno(write ? 'EPERM' : 'ENODATA');
    return undefined;
  }
  if (name.startsWith('user.')) {
    // The permission bits of devices, sockets and links say nothing about who may keep data with them.
    if ((inode.i_mode & S_IFMT) !== S_IFREG && !isDir(inode)) throw errno(write ? 'EPERM' : 'ENODATA');
    const sticky = !task.permitted && isDir(inode) && (inode.i_mode & S_ISVTX) !== 0;
    if (sticky && write && !inode_owner_or_capable(task, inode)) throw errno('EPERM');
  }
  return inode_permission(task, inode, mask);
}

/**
 * getxattr(2) (vfs_getxattr). The caller compares the length with the room it has (ERANGE).
 * @param name with its prefix, bytes in latin1
 * @returns undefined where there is none (ENODATA), as the handlers do
 * @throws ENODATA where the caller may not know; EOPNOTSUPP EACCES; ERANGE for an empty or too long name; EINVAL for a prefix alone
 */
export function vfs_getxattr(task: Task, dentry: Dentry, name: string): Awaitable<Buffer | undefined> {
  const inode = inodeOf(dentry);
  checkName(name);
  const type = aclType(name);
  if (type !== undefined) return andThen(vfs_get_acl(task, dentry, type), posix_acl_to_xattr);
  return andThen(xattr_permission(task, inode, name, MAY_READ), getPermitted, task, dentry, inode, name);
}

function getPermitted(
  _may: void,
  task: Task,
  dentry: Dentry,
  inode: Inode,
  name: string,
): Awaitable<Buffer | undefined> {
  const { handler, suffix } = resolve(inode, name);
  if (handler.get === undefined) throw errno('EOPNOTSUPP');
  return invoke(task, rows.get, { inode: inode.i_rwsem }, handler.get, dentry, inode, suffix);
}

/**
 * setxattr(2) (vfs_setxattr). Takes i_rwsem exclusively, as the row of set says.
 * @param flags XATTR_CREATE, XATTR_REPLACE
 * @throws EEXIST ENODATA EOPNOTSUPP E2BIG ERANGE EINVAL ENOSPC EPERM EACCES EROFS
 */
export function vfs_setxattr(task: Task, dentry: Dentry, name: string, value: Buffer, flags: number): Awaitable<void> {
  if ((flags & ~(XATTR_CREATE | XATTR_REPLACE)) !== 0) throw errno('EINVAL');
  checkName(name);
  if (value.length > XATTR_SIZE_MAX) throw errno('E2BIG');
  const type = aclType(name);
  if (type !== undefined) return vfs_set_acl(task, dentry, posix_acl_from_xattr(value), type);
  return change(task, dentry, name, value, flags);
}

/** removexattr(2) (vfs_removexattr). Takes i_rwsem exclusively. @throws ENODATA EOPNOTSUPP ERANGE EINVAL EPERM EACCES EROFS */
export function vfs_removexattr(task: Task, dentry: Dentry, name: string): Awaitable<void> {
  checkName(name);
  const type = aclType(name);
  if (type === undefined) return change(task, dentry, name, undefined, XATTR_REPLACE);
  return vfs_set_acl(task, dentry, undefined, type);
}

/** An attribute of an inode is to be set, or removed. */
interface Change {
  readonly dentry: Dentry;
  readonly name: string;
  readonly value: Buffer | undefined;
  readonly flags: number;
}

function change(task: Task, dentry: Dentry, name: string, value: Buffer | undefined, flags: number): Awaitable<void> {
  return waiting_for_delegations(changeOnce, task, { dentry, name, value, flags });
}

function changeOnce(task: Task, what: Change): Awaitable<void> {
  return andThen(mnt_want_write(task, inodeOf(what.dentry).i_sb), changeWriting, task, what);
}

function changeWriting(writing: Writing, task: Task, what: Change): Awaitable<void> {
  return withCleanup(changeIfPermitted, sb_end_write, writing, task, what);
}

function changeIfPermitted(_writing: Writing, task: Task, what: Change): Awaitable<void> {
  const inode = inodeOf(what.dentry);
  return andThen(xattr_permission(task, inode, what.name, MAY_WRITE), lockToChange, task, inode, what);
}

function lockToChange(_may: void, task: Task, inode: Inode, what: Change): Awaitable<void> {
  const { handler, suffix } = resolve(inode, what.name);
  const { set } = handler;
  if (set === undefined) throw errno('EOPNOTSUPP');
  const taken = take(task, rows.set, 'inode', inode.i_rwsem, I_MUTEX_NORMAL);
  return andThen(taken, changeLocked, task, inode, what, set, suffix);
}

type Set = NonNullable<xattr_handler['set']>;

function changeLocked(held: Held, task: Task, inode: Inode, what: Change, set: Set, suffix: string): Awaitable<void> {
  return withCleanup(callSet, release_held, held, task, inode, what, set, suffix);
}

function callSet(
  _held: Held,
  task: Task,
  inode: Inode,
  { dentry, name, value, flags }: Change,
  set: Set,
  suffix: string,
): Awaitable<void> {
  assert_sb_write_started(task, inode.i_sb);
  try_break_deleg(task, inode);
  if (value !== undefined && name.startsWith('security.')) inode_attrs(task, inode).i_flags &= ~S_NOSEC;
  return invoke(task, rows.set, { inode: inode.i_rwsem }, set, dentry, inode, suffix, value, flags);
}

/**
 * listxattr(2): the names that the caller may see (vfs_listxattr). The caller compares their length with the room it has (ERANGE).
 * @throws E2BIG where they do not fit in a list
 */
export function vfs_listxattr(task: Task, dentry: Dentry): Awaitable<string[]> {
  const inode = inodeOf(dentry);
  const { listxattr } = inode.i_op;
  if (listxattr === undefined) return [];
  const listed = invoke(task, inode_operations.listxattr, { inode: inode.i_rwsem }, listxattr, dentry);
  return andThen(listed, visibleOf, task, dentry, inode);
}

function visibleOf(names: string[], task: Task, dentry: Dentry, inode: Inode): string[] {
  const visible: string[] = [];
  let size = 0;
  for (const name of names) {
    if (!maySee(task, dentry, inode, name)) continue;
    visible.push(name);
    size += name.length + 1;
  }
  if (size > XATTR_SIZE_MAX) throw errno('E2BIG');
  return visible;
}

function maySee(task: Task, dentry: Dentry, inode: Inode, name: string): boolean {
  if (aclType(name) !== undefined) return (inode.i_sb.s_flags & SB_POSIXACL) !== 0;
  const handler = inode.i_sb.s_xattr.find((candidate) => name.startsWith(candidate.prefix));
  if (handler === undefined) return false;
  const { list } = handler;
  return list === undefined || invoke(task, rows.list, { inode: inode.i_rwsem }, list, dentry) === true;
}
