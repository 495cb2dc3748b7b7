/** System calls on attributes: stat, chmod, chown, times, access, extended attributes (fs/stat.c, fs/open.c, fs/utimes.c, fs/xattr.c). */

import { type Awaitable, andThen } from '../../sched/awaitable.js';
import { errno } from '../../sched/errno.js';
import type { Cred, Task } from '../../sched/task.js';
import type { Timespec } from '../../sched/time.js';
import { AT_EACCESS, AT_EMPTY_PATH, AT_FDCWD, AT_STATX_SYNC_TYPE, AT_SYMLINK_NOFOLLOW } from '../../uapi/fcntl.js';
import { S_IALLUGO } from '../../uapi/stat.js';
import { notify_change } from '../attr.js';
import type { Dentry } from '../dentry.js';
import { inode_permission, MAY_ACCESS } from '../namei/permission.js';
import { vfs_getattr } from '../stat.js';
import type { Iattr, Kstat } from '../types.js';
import { vfs_getxattr, vfs_listxattr, vfs_removexattr, vfs_setxattr } from '../xattr.js';
import { user_path_at, withPath } from './path.js';
import type { Process } from './process.js';

/** STATX_BASIC_STATS and STATX_BTIME. */
const STATX_ALL = 0xfff;

/** Run `body` on what a path names. @param flags AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH */
function on<T>(
  task: Task,
  p: Process,
  dirfd: number,
  name: string,
  flags: number,
  body: (dentry: Dentry) => Awaitable<T>,
): Awaitable<T> {
  return withPath(task, user_path_at(task, p, dirfd, name, flags), body);
}

function known(flags: number, allowed: number): void {
  if ((flags & ~allowed) !== 0) throw errno('EINVAL');
}

/** statx(2). @param flags AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, AT_STATX_* @param mask STATX_* @throws EINVAL for both ways to synchronise; as stat */
export function statx(
  task: Task,
  p: Process,
  dirfd: number,
  name: string,
  flags = 0,
  mask = STATX_ALL,
): Awaitable<Kstat> {
  const query = flags & AT_STATX_SYNC_TYPE;
  if (query === AT_STATX_SYNC_TYPE) throw errno('EINVAL');
  return on(task, p, dirfd, name, flags, (dentry) => vfs_getattr(task, dentry, mask, query));
}

/** stat(2). @throws ENOENT ENOTDIR EACCES ELOOP ENAMETOOLONG */
export function stat(task: Task, p: Process, name: string): Awaitable<Kstat> {
  return statx(task, p, AT_FDCWD, name);
}

/** lstat(2): of a symlink itself. @throws ENOENT ENOTDIR EACCES ELOOP ENAMETOOLONG */
export function lstat(task: Task, p: Process, name: string): Awaitable<Kstat> {
  return statx(task, p, AT_FDCWD, name, AT_SYMLINK_NOFOLLOW);
}

/** fstat(2). @throws EBADF */
export function fstat(task: Task, p: Process, fd: number): Awaitable<Kstat> {
  return vfs_getattr(task, p.files.getAny(fd).f_dentry, STATX_ALL, 0);
}

/** fchmodat2(2). @param flags AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH @throws EINVAL for others; EBADF, and as chmod */
export function fchmodat(
  task: Task,
  p: Process,
  dirfd: number,
  name: string,
  mode: number,
  flags = 0,
): Awaitable<void> {
  known(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH);
  return on(task, p, dirfd, name, flags, (dentry) => notify_change(task, dentry, { mode: mode & S_IALLUGO }));
}

/** chmod(2). @throws EPERM EROFS ENOENT ENOTDIR EACCES ELOOP ENAMETOOLONG */
export function chmod(task: Task, p: Process, name: string, mode: number): Awaitable<void> {
  return fchmodat(task, p, AT_FDCWD, name, mode);
}

/** fchmod(2). @throws EBADF EPERM EROFS */
export function fchmod(task: Task, p: Process, fd: number, mode: number): Awaitable<void> {
  const file = p.files.get(fd);
  return notify_change(task, file.f_dentry, { mode: mode & S_IALLUGO, file });
}

/** -1 leaves an id as it is. */
function owners(uid: number, gid: number): Iattr {
  return { ...(uid === -1 ? {} : { uid }), ...(gid === -1 ? {} : { gid }) };
}

/** fchownat(2). @param uid -1: as it is @param gid likewise @param flags AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH @throws EINVAL for others; EBADF, and as chown */
export function fchownat(
  task: Task,
  p: Process,
  dirfd: number,
  name: string,
  uid: number,
  gid: number,
  flags = 0,
): Awaitable<void> {
  known(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH);
  return on(task, p, dirfd, name, flags, (dentry) => notify_change(task, dentry, owners(uid, gid)));
}

/** chown(2). @param uid -1: as it is @param gid likewise @throws EPERM EROFS EDQUOT ENOENT ENOTDIR EACCES ELOOP ENAMETOOLONG */
export function chown(task: Task, p: Process, name: string, uid: number, gid: number): Awaitable<void> {
  return fchownat(task, p, AT_FDCWD, name, uid, gid);
}

/** lchown(2): of a symlink itself. @throws as chown */
export function lchown(task: Task, p: Process, name: string, uid: number, gid: number): Awaitable<void> {
  return fchownat(task, p, AT_FDCWD, name, uid, gid, AT_SYMLINK_NOFOLLOW);
}

/** fchown(2). @throws EBADF EPERM EROFS EDQUOT */
export function fchown(task: Task, p: Process, fd: number, uid: number, gid: number): Awaitable<void> {
  const file = p.files.get(fd);
  return notify_change(task, file.f_dentry, { ...owners(uid, gid), file });
}

/** A time to set: one of the caller's, UTIME_NOW, or UTIME_OMIT. */
export type SetTime = Timespec | 'now' | 'omit';

function timesOf(times: readonly [SetTime, SetTime] | undefined): Iattr | undefined {
  if (times === undefined) return { atime: 'now', mtime: 'now' };
  const [atime, mtime] = times;
  for (const time of times) {
    if (typeof time === 'object' && (time.nsec < 0 || time.nsec >= 1e9)) throw errno('EINVAL');
  }
  if (atime === 'omit' && mtime === 'omit') return undefined;
  return { ...(atime === 'omit' ? {} : { atime }), ...(mtime === 'omit' ? {} : { mtime }) };
}

/**
 * utimensat(2). @param times atime and mtime; undefined: both become now @param flags AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH
 * @throws EINVAL for other flags, and nanoseconds that are none; EACCES EPERM EROFS, and as stat
 */
export function utimensat(
  task: Task,
  p: Process,
  dirfd: number,
  name: string,
  times: readonly [SetTime, SetTime] | undefined,
  flags = 0,
): Awaitable<void> {
  known(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH);
  const attr = timesOf(times);
  if (attr === undefined) return undefined;
  return on(task, p, dirfd, name, flags, (dentry) => notify_change(task, dentry, attr));
}

/** futimens(3). @param times as for utimensat @throws EBADF EINVAL EACCES EPERM EROFS */
export function futimens(
  task: Task,
  p: Process,
  fd: number,
  times: readonly [SetTime, SetTime] | undefined,
): Awaitable<void> {
  const file = p.files.get(fd);
  const attr = timesOf(times);
  return attr === undefined ? undefined : notify_change(task, file.f_dentry, { ...attr, file });
}

/**
 * faccessat2(2). Real and effective ids are the same here. @param mode R_OK 4, W_OK 2, X_OK 1, F_OK 0 @param flags AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, AT_EACCESS
 * @throws EINVAL for other bits; EACCES EROFS ENOENT, and as stat
 */
export function faccessat2(
  task: Task,
  p: Process,
  dirfd: number,
  name: string,
  mode: number,
  flags = 0,
): Awaitable<void> {
  known(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_EACCESS);
  if ((mode & ~7) !== 0) throw errno('EINVAL');
  return on(task, p, dirfd, name, flags, (dentry) => {
    const { d_inode: inode } = dentry;
    if (inode === undefined) throw errno('ENOENT');
    return mode === 0 ? undefined : inode_permission(task, inode, mode | MAY_ACCESS, { inode: inode.i_rwsem });
  });
}

/** access(2). @param mode as for faccessat2 @throws EINVAL EROFS ENOENT ENOTDIR EACCES ELOOP ENAMETOOLONG */
export function access(task: Task, p: Process, name: string, mode: number): Awaitable<void> {
  return faccessat2(task, p, AT_FDCWD, name, mode);
}

/** setuid, setgid, setgroups together: who the process is from now on. */
export function setcred(_task: Task, p: Process, cred: Cred): void {
  p.cred = cred;
}

/* Extended attributes: by name, by name of a symlink itself, by descriptor. */

/** `value` as far as there is room for it. @param size 0 asks for the length only @throws ENODATA where there is none; ERANGE */
function fits(value: Buffer | undefined, size: number | undefined): Buffer {
  if (value === undefined) throw errno('ENODATA');
  if (size !== undefined && size !== 0 && value.length > size) throw errno('ERANGE');
  return value;
}

/** setxattr(2). @param flags XATTR_CREATE, XATTR_REPLACE @throws EEXIST ENODATA EOPNOTSUPP EPERM ENOSPC EDQUOT ERANGE E2BIG ENOENT ENOTDIR EACCES ELOOP ENAMETOOLONG */
export function setxattr(
  task: Task,
  p: Process,
  name: string,
  attribute: string,
  value: Buffer,
  flags = 0,
): Awaitable<void> {
  return on(task, p, AT_FDCWD, name, 0, (dentry) => vfs_setxattr(task, dentry, attribute, value, flags));
}

/** lsetxattr(2): of a symlink itself. @throws as setxattr */
export function lsetxattr(
  task: Task,
  p: Process,
  name: string,
  attribute: string,
  value: Buffer,
  flags = 0,
): Awaitable<void> {
  return on(task, p, AT_FDCWD, name, AT_SYMLINK_NOFOLLOW, (dentry) =>
    vfs_setxattr(task, dentry, attribute, value, flags),
  );
}

/** fsetxattr(2). @throws EBADF, and as setxattr */
export function fsetxattr(
  task: Task,
  p: Process,
  fd: number,
  attribute: string,
  value: Buffer,
  flags = 0,
): Awaitable<void> {
  return vfs_setxattr(task, p.files.get(fd).f_dentry, attribute, value, flags);
}

/** getxattr(2). @param size bytes there is room for; 0 and nothing: no limit @throws ENODATA ERANGE EOPNOTSUPP ENOENT ENOTDIR EACCES ELOOP ENAMETOOLONG */
export function getxattr(task: Task, p: Process, name: string, attribute: string, size?: number): Awaitable<Buffer> {
  return on(task, p, AT_FDCWD, name, 0, (dentry) =>
    andThen(vfs_getxattr(task, dentry, attribute), (value) => fits(value, size)),
  );
}

/** lgetxattr(2): of a symlink itself. @throws as getxattr */
export function lgetxattr(task: Task, p: Process, name: string, attribute: string, size?: number): Awaitable<Buffer> {
  return on(task, p, AT_FDCWD, name, AT_SYMLINK_NOFOLLOW, (dentry) =>
    andThen(vfs_getxattr(task, dentry, attribute), (value) => fits(value, size)),
  );
}

/** fgetxattr(2). @throws EBADF, and as getxattr */
export function fgetxattr(task: Task, p: Process, fd: number, attribute: string, size?: number): Awaitable<Buffer> {
  return andThen(vfs_getxattr(task, p.files.get(fd).f_dentry, attribute), (value) => fits(value, size));
}

/** listxattr(2). @returns the names that the caller may see @throws ENOENT ENOTDIR EACCES ELOOP ENAMETOOLONG */
export function listxattr(task: Task, p: Process, name: string): Awaitable<string[]> {
  return on(task, p, AT_FDCWD, name, 0, (dentry) => vfs_listxattr(task, dentry));
}

/** llistxattr(2): of a symlink itself. @throws as listxattr */
export function llistxattr(task: Task, p: Process, name: string): Awaitable<string[]> {
  return on(task, p, AT_FDCWD, name, AT_SYMLINK_NOFOLLOW, (dentry) => vfs_listxattr(task, dentry));
}

/** flistxattr(2). @throws EBADF */
export function flistxattr(task: Task, p: Process, fd: number): Awaitable<string[]> {
  return vfs_listxattr(task, p.files.get(fd).f_dentry);
}

/** removexattr(2). @throws ENODATA EOPNOTSUPP EPERM ENOENT ENOTDIR EACCES ELOOP ENAMETOOLONG */
export function removexattr(task: Task, p: Process, name: string, attribute: string): Awaitable<void> {
  return on(task, p, AT_FDCWD, name, 0, (dentry) => vfs_removexattr(task, dentry, attribute));
}

/** lremovexattr(2): of a symlink itself. @throws as removexattr */
export function lremovexattr(task: Task, p: Process, name: string, attribute: string): Awaitable<void> {
  return on(task, p, AT_FDCWD, name, AT_SYMLINK_NOFOLLOW, (dentry) => vfs_removexattr(task, dentry, attribute));
}

/** fremovexattr(2). @throws EBADF, and as removexattr */
export function fremovexattr(task: Task, p: Process, fd: number, attribute: string): Awaitable<void> {
  return vfs_removexattr(task, p.files.get(fd).f_dentry, attribute);
}
