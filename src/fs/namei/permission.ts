/** Who may do what (fs/namei.c): permission bits, access control lists, capabilities, and the checks before a name is made or removed. */

import { inode_operations } from '../../contract/inode.js';
import { invoke, type Participants } from '../../locking/context.js';
import { GUARDED, guard_read } from '../../locking/guarded.js';
import { type Awaitable, andThen } from '../../sched/awaitable.js';
import { errno } from '../../sched/errno.js';
import type { Cred, Task } from '../../sched/task.js';
import { S_IFDIR, S_IFMT, S_IRWXG, S_ISVTX } from '../../uapi/stat.js';
import { DCACHE_MANAGED_DENTRY, type Dentry } from '../dentry.js';
import { type Inode, isDir, S_APPEND, S_DEAD, S_IMMUTABLE, S_SWAPFILE } from '../inode.js';
import { posix_acl_permission } from '../posix-acl.js';
import { get_acl_rcu, get_inode_acl } from '../posix-acl-ops.js';
import type { PosixAcl } from '../posix-acl-types.js';
import { SB_POSIXACL, SB_RDONLY } from '../super-block.js';
import { assert_sb_write_started } from '../super-freeze.js';

export const MAY_EXEC = 1;
export const MAY_WRITE = 2;
export const MAY_READ = 4;
export const MAY_ACCESS = 0x10;
export const MAY_OPEN = 0x20;
export const MAY_CHDIR = 0x40;
/** In rcu-walk: answer at once, or throw ECHILD. */
export const MAY_NOT_BLOCK = 0x80;

const RWX = 7;
const NONE: Participants = {};

/** Whether a group is the caller's own or one of the supplementary ones (in_group_p). */
export function in_group_p(cred: Cred, gid: number): boolean {
  return cred.gid === gid || cred.groups().includes(gid);
}

/** Whether capabilities make up for missing permissions (the second half of generic_permission). */
function capabilityAllows(task: Task, inode: Inode, wanted: number): boolean {
  const { cred } = task;
  if (isDir(inode)) {
    if ((wanted & MAY_WRITE) === 0 && cred.capable('CAP_DAC_READ_SEARCH')) return true;
    return cred.capable('CAP_DAC_OVERRIDE');
  }
  if (wanted === MAY_READ && cred.capable('CAP_DAC_READ_SEARCH')) return true;
  return ((wanted & MAY_EXEC) === 0 || (inode.i_mode & 0o111) !== 0) && cred.capable('CAP_DAC_OVERRIDE');
}

/**
 * Permission bits, access control list and capabilities (generic_permission).
 * @param mask MAY_READ, MAY_WRITE, MAY_EXEC; with MAY_NOT_BLOCK it answers at once
 * @throws EACCES; ECHILD where the list is not in memory and it may not block
 */
export function generic_permission(task: Task, inode: Inode, mask: number): Awaitable<void> {
  const { cred } = task;
  const wanted = mask & RWX;
  if ((mask & MAY_NOT_BLOCK) !== 0) guard_read(task, GUARDED.under_rcu, inode.i_sb.rcu);
  const mode = inode.i_mode;
  if (cred.uid === inode.i_uid) return allow(task, inode, wanted, (wanted & ~(mode >> 6) & RWX) === 0);
  // Without group bits the mask of a list would be empty: the list allows nothing that the bits do not.
  if ((inode.i_sb.s_flags & SB_POSIXACL) !== 0 && (mode & S_IRWXG) !== 0) return check_acl(task, inode, mask);
  return allow(task, inode, wanted, bitsAllow(task, inode, wanted));
}

/** The bits of the group or of others; the caller's groups are looked up only where they make a difference. */
function bitsAllow(task: Task, inode: Inode, wanted: number): boolean {
  let bits = inode.i_mode;
  if ((wanted & (bits ^ (bits >> 3))) !== 0 && in_group_p(task.cred, inode.i_gid)) bits >>= 3;
  return (wanted & ~bits & RWX) === 0;
}

function allow(task: Task, inode: Inode, wanted: number, allowed: boolean): void {
  if (!allowed && !capabilityAllows(task, inode, wanted)) throw errno('EACCES');
}

function check_acl(task: Task, inode: Inode, mask: number): Awaitable<void> {
  if ((mask & MAY_NOT_BLOCK) !== 0) return decide(get_acl_rcu(task, inode, 'access') ?? undefined, task, inode, mask);
  return andThen(get_inode_acl(task, inode, 'access'), decide, task, inode, mask);
}

function decide(acl: PosixAcl | undefined, task: Task, inode: Inode, mask: number): void {
  const wanted = mask & RWX;
  const allowed = acl === undefined ? bitsAllow(task, inode, wanted) : posix_acl_permission(task, inode, acl, wanted);
  allow(task, inode, wanted, allowed);
}

/**
 * May the caller read, write or execute it (inode_permission)?
 * @param mask MAY_*
 * @param participants for the row of permission: of a path walk the directory, whose i_rwsem is not held
 * @throws EACCES; EROFS on a read-only filesystem; EPERM for an immutable file; ECHILD with MAY_NOT_BLOCK
 */
export function inode_permission(
  task: Task,
  inode: Inode,
  mask: number,
  participants: Participants = NONE,
): Awaitable<void> {
  if ((mask & MAY_WRITE) !== 0) {
    const type = inode.i_mode & S_IFMT;
    const stored = type === 0o100000 || type === S_IFDIR || type === 0o120000;
    if (stored && (inode.i_sb.s_flags & SB_RDONLY) !== 0) throw errno('EROFS');
    if ((inode.i_flags & S_IMMUTABLE) !== 0) throw errno('EPERM');
  }
  if (task.permitted) return undefined;
  const { permission = generic_permission } = inode.i_op;
  return invoke(task, inode_operations.permission, participants, permission, inode, mask);
}

/** May a name be made in `dir`, whose i_rwsem is held exclusively (may_create)? @throws EEXIST ENOENT EACCES EPERM EROFS */
export function may_create(task: Task, dir: Inode, dentry: Dentry): Awaitable<void> {
  assert_sb_write_started(task, dir.i_sb);
  if (!dentry.isNegative) throw errno('EEXIST');
  if ((dir.i_flags & S_DEAD) !== 0) throw errno('ENOENT');
  return inode_permission(task, dir, MAY_WRITE | MAY_EXEC);
}

/** The sticky bit: only the owner of the file or the directory removes from it (check_sticky). */
function check_sticky(task: Task, dir: Inode, inode: Inode): boolean {
  if ((dir.i_mode & S_ISVTX) === 0 || task.permitted) return false;
  return task.cred.uid !== inode.i_uid && task.cred.uid !== dir.i_uid && !task.cred.capable('CAP_FOWNER');
}

/**
 * May a name be removed from `dir`, whose i_rwsem is held exclusively, as a directory or not (may_delete)?
 * @throws ENOENT EACCES EPERM ENOTDIR EISDIR EBUSY EROFS
 */
export function may_delete(task: Task, dir: Inode, dentry: Dentry, asDir: boolean): Awaitable<void> {
  assert_sb_write_started(task, dir.i_sb);
  const inode = dentry.d_inode;
  if (inode === undefined) throw errno('ENOENT');
  return andThen(inode_permission(task, dir, MAY_WRITE | MAY_EXEC), mayGo, task, dir, dentry, inode, asDir);
}

/** @throws EPERM ENOTDIR EISDIR EBUSY ENOENT */
function mayGo(_may: void, task: Task, dir: Inode, dentry: Dentry, inode: Inode, asDir: boolean): void {
  if ((dir.i_flags & S_APPEND) !== 0) throw errno('EPERM');
  const fixed = (inode.i_flags & (S_APPEND | S_IMMUTABLE | S_SWAPFILE)) !== 0;
  if (check_sticky(task, dir, inode) || fixed) throw errno('EPERM');
  if (asDir) {
    if (!isDir(inode)) throw errno('ENOTDIR');
    if (dentry.isRoot) throw errno('EBUSY');
  } else if (isDir(inode)) throw errno('EISDIR');
  if ((dentry.d_flags & DCACHE_MANAGED_DENTRY) !== 0) throw errno('EBUSY');
  if ((dir.i_flags & S_DEAD) !== 0) throw errno('ENOENT');
}
