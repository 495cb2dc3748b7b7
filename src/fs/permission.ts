/** Who may do what (fs/namei.c): permission bits, capabilities, and the checks before a name is made or removed. */
import { inode_operations } from '../contract/inode.js';
import { call } from '../locking/context.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { Dentry } from './dentry.js';
import { type Inode, S_APPEND, S_DEAD, S_IMMUTABLE } from './inode.js';
import { SB_RDONLY } from './super-block.js';

export const MAY_EXEC = 1;
export const MAY_WRITE = 2;
export const MAY_READ = 4;
export const MAY_APPEND = 8;

const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_ISVTX = 0o1000;

export function isDir(inode: Inode): boolean {
  return (inode.i_mode & S_IFMT) === S_IFDIR;
}

/** Permission bits and capabilities (generic_permission). @throws EACCES */
export function generic_permission(task: Task, inode: Inode, mask: number): void {
  const { cred } = task;
  const wanted = mask & 7;
  let bits = inode.i_mode;
  if (cred.uid === inode.i_uid) bits >>= 6;
  else if (cred.gid === inode.i_gid || cred.groups().includes(inode.i_gid)) bits >>= 3;
  if ((wanted & ~bits & 7) === 0) return;
  if (isDir(inode)) {
    if ((wanted & MAY_WRITE) === 0 && cred.capable('CAP_DAC_READ_SEARCH')) return;
    if (cred.capable('CAP_DAC_OVERRIDE')) return;
  } else {
    if (wanted === MAY_READ && cred.capable('CAP_DAC_READ_SEARCH')) return;
    if (((wanted & MAY_EXEC) === 0 || (inode.i_mode & 0o111) !== 0) && cred.capable('CAP_DAC_OVERRIDE')) return;
  }
  throw errno('EACCES');
}

/**
 * May the caller read, write or execute it (inode_permission)?
 * @throws EACCES; EROFS on a read-only filesystem; EPERM for an immutable file
 */
export function inode_permission(task: Task, inode: Inode, mask: number): Awaitable<void> {
  if ((mask & MAY_WRITE) !== 0) {
    const type = inode.i_mode & S_IFMT;
    const stored = type === 0o100000 || type === S_IFDIR || type === 0o120000;
    if (stored && (inode.i_sb.s_flags & SB_RDONLY) !== 0) throw errno('EROFS');
    if ((inode.i_flags & S_IMMUTABLE) !== 0) throw errno('EPERM');
  }
  if (inode.i_sb.kernelChecksPermissions) return undefined;
  const { permission } = inode.i_op;
  if (permission === undefined) return generic_permission(task, inode, mask);
  return call(task, inode_operations.permission, {}, () => permission(task, inode, mask));
}

/** May a name be made in `dir` (may_create)? @throws EEXIST ENOENT EACCES EROFS */
export function may_create(task: Task, dir: Inode, dentry: Dentry): Awaitable<void> {
  if (!dentry.isNegative) throw errno('EEXIST');
  if ((dir.i_flags & S_DEAD) !== 0) throw errno('ENOENT');
  return inode_permission(task, dir, MAY_WRITE | MAY_EXEC);
}

/** The sticky bit: only the owner of the file or the directory removes from it (check_sticky). */
function check_sticky(task: Task, dir: Inode, inode: Inode): boolean {
  if ((dir.i_mode & S_ISVTX) === 0) return false;
  return task.cred.uid !== inode.i_uid && task.cred.uid !== dir.i_uid && !task.cred.capable('CAP_FOWNER');
}

/**
 * May a name be removed from `dir`, as a directory or not (may_delete)?
 * @throws ENOENT EACCES EPERM ENOTDIR EISDIR EBUSY
 */
export function may_delete(task: Task, dir: Inode, dentry: Dentry, asDir: boolean): Awaitable<void> {
  const inode = dentry.d_inode;
  if (inode === undefined) throw errno('ENOENT');
  return andThen(inode_permission(task, dir, MAY_WRITE | MAY_EXEC), () => {
    if ((dir.i_flags & S_APPEND) !== 0) throw errno('EPERM');
    if (check_sticky(task, dir, inode) || (inode.i_flags & (S_APPEND | S_IMMUTABLE)) !== 0) throw errno('EPERM');
    if (asDir) {
      if (!isDir(inode)) throw errno('ENOTDIR');
      if (dentry.isRoot) throw errno('EBUSY');
    } else if (isDir(inode)) throw errno('EISDIR');
    if ((dir.i_flags & S_DEAD) !== 0) throw errno('ENOENT');
  });
}
