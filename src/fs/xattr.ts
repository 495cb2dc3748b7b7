/** Extended attributes (fs/xattr.c). */
import { inode_operations } from '../contract/inode.js';
import { xattr_handler as rows } from '../contract/xattr.js';
import { call, take } from '../locking/context.js';
import type { Awaitable } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { Dentry } from './dentry.js';
import { I_MUTEX_XATTR, type Inode, S_APPEND, S_IMMUTABLE } from './inode.js';
import type { xattr_handler } from './operations.js';
import { inode_permission, isDir, MAY_READ, MAY_WRITE } from './permission.js';
import { SB_RDONLY } from './super-block.js';

const XATTR_NAME_MAX = 255;
const XATTR_SIZE_MAX = 65536;
const XATTR_CREATE = 1;
const XATTR_REPLACE = 2;

function inodeOf(dentry: Dentry): Inode {
  const inode = dentry.d_inode;
  if (inode === undefined) throw errno('ENOENT');
  return inode;
}

/** The handler of a full name and what follows its prefix (xattr_resolve_name). @throws EOPNOTSUPP EINVAL ERANGE */
function resolve(inode: Inode, name: string): { readonly handler: xattr_handler; readonly suffix: string } {
  if (name.length === 0 || name.length > XATTR_NAME_MAX) throw errno('ERANGE');
  const handler = inode.i_sb.s_xattr.find((candidate) => name.startsWith(candidate.prefix));
  if (handler === undefined) throw errno('EOPNOTSUPP');
  const suffix = name.slice(handler.prefix.length);
  if (suffix === '') throw errno('EINVAL');
  return { handler, suffix };
}

/** Who may use which namespace (xattr_permission). @throws EPERM ENODATA EACCES EROFS */
function xattr_permission(task: Task, inode: Inode, name: string, mask: number): Awaitable<void> {
  const write = mask === MAY_WRITE;
  if (write && (inode.i_sb.s_flags & SB_RDONLY) !== 0) throw errno('EROFS');
  if (write && (inode.i_flags & (S_IMMUTABLE | S_APPEND)) !== 0) throw errno('EPERM');
  if (name.startsWith('security.') || name.startsWith('system.')) return undefined;
  if (name.startsWith('trusted.')) {
    if (!task.cred.capable('CAP_SYS_ADMIN')) throw errno(write ? 'EPERM' : 'ENODATA');
    return undefined;
  }
  if (name.startsWith('user.')) {
    if ((inode.i_mode & 0o170000) !== 0o100000 && !isDir(inode)) throw errno(write ? 'EPERM' : 'ENODATA');
    const sticky = isDir(inode) && (inode.i_mode & 0o1000) !== 0;
    if (sticky && write && task.cred.uid !== inode.i_uid && !task.cred.capable('CAP_FOWNER')) throw errno('EPERM');
  }
  return inode_permission(task, inode, mask);
}

/** getxattr(2). @throws ENODATA EOPNOTSUPP EACCES */
export async function vfs_getxattr(task: Task, dentry: Dentry, name: string): Promise<Buffer> {
  const inode = inodeOf(dentry);
  await xattr_permission(task, inode, name, MAY_READ);
  const { handler, suffix } = resolve(inode, name);
  return call(task, rows.get, { inode: inode.i_rwsem }, () => {
    if (handler.get === undefined) throw errno('EOPNOTSUPP');
    return handler.get(task, dentry, inode, suffix);
  });
}

/** setxattr(2); `value` undefined removes. Takes i_rwsem exclusively. @throws EEXIST ENODATA EOPNOTSUPP E2BIG ENOSPC EPERM EROFS */
async function change(
  task: Task,
  dentry: Dentry,
  name: string,
  value: Buffer | undefined,
  flags: number,
): Promise<void> {
  const inode = inodeOf(dentry);
  if ((flags & ~(XATTR_CREATE | XATTR_REPLACE)) !== 0) throw errno('EINVAL');
  if (value !== undefined && value.length > XATTR_SIZE_MAX) throw errno('E2BIG');
  await xattr_permission(task, inode, name, MAY_WRITE);
  const { handler, suffix } = resolve(inode, name);
  using _held = await take(task, rows.set, 'inode', inode.i_rwsem, I_MUTEX_XATTR);
  await call(task, rows.set, { inode: inode.i_rwsem }, () => {
    if (handler.set === undefined) throw errno('EOPNOTSUPP');
    return handler.set(task, dentry, inode, suffix, value, flags);
  });
}

export function vfs_setxattr(task: Task, dentry: Dentry, name: string, value: Buffer, flags: number): Promise<void> {
  return change(task, dentry, name, value, flags);
}

/** removexattr(2). @throws ENODATA */
export function vfs_removexattr(task: Task, dentry: Dentry, name: string): Promise<void> {
  return change(task, dentry, name, undefined, XATTR_REPLACE);
}

/** listxattr(2): the names that the caller may see. */
export async function vfs_listxattr(task: Task, dentry: Dentry): Promise<string[]> {
  const inode = inodeOf(dentry);
  const { listxattr } = inode.i_op;
  if (listxattr === undefined) return [];
  const names = await call(task, inode_operations.listxattr, { inode: inode.i_rwsem }, () => listxattr(task, dentry));
  const visible = inode.i_sb.s_xattr.filter(
    (handler) =>
      handler.list === undefined ||
      call(task, rows.list, { inode: inode.i_rwsem }, () => handler.list?.(task, dentry) ?? true) === true,
  );
  return names.filter((name) => visible.some((handler) => name.startsWith(handler.prefix)));
}
