/** System calls on names: making, linking, removing, renaming; and where a process is (fs/namei.c, fs/open.c). Opening is in open.ts. */

import type { Awaitable } from '../../sched/awaitable.js';
import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW } from '../../uapi/fcntl.js';
import { RENAME_NOREPLACE } from '../../uapi/fs.js';
import { d_path } from '../d-path.js';
import { dget, dput } from '../dcache.js';
import type { Dentry } from '../dentry.js';
import { isDir } from '../inode.js';
import { lookup_permitted } from '../namei/lookup.js';
import { path_lookup, path_parent } from '../namei/path-walk.js';
import { inode_permission, MAY_CHDIR, MAY_EXEC } from '../namei/permission.js';
import { type Last, LOOKUP_DIRECTORY, LOOKUP_EMPTY, LOOKUP_FOLLOW } from '../namei/walk.js';
import { do_link, do_mkdir, do_mknod, do_rename, do_rmdir, do_symlink, do_unlink, vfs_readlink } from '../namei.js';
import { startOf, user_path_at, withPath } from './path.js';
import { type Process, set_fs_pwd } from './process.js';

/** Run `body` with the directory and the last name of a path that is to be made, removed or renamed. */
async function withParent<T>(
  task: Task,
  p: Process,
  dirfd: number,
  name: string,
  body: (parent: Dentry, last: Last) => Promise<T>,
): Promise<T> {
  const { path, last } = await path_parent(task, p.fs, startOf(p, dirfd), name, 0);
  try {
    return await body(path, last);
  } finally {
    await dput(task, path);
  }
}

/** Make a name. @param directory a slash may follow it */
function making(
  task: Task,
  p: Process,
  dirfd: number,
  name: string,
  directory: boolean,
  make: (parent: Dentry, name: string) => Awaitable<Dentry>,
): Promise<void> {
  return withParent(task, p, dirfd, name, async (parent, last) => {
    if (last.type !== 'norm') throw errno('EEXIST');
    if (last.slash && !directory) {
      // What is there exists; what is not cannot be made with this name (filename_create).
      const dentry = await lookup_permitted(task, parent, last.name, 0);
      const there = !dentry.isNegative;
      await dput(task, dentry);
      throw errno(there ? 'EEXIST' : 'ENOENT');
    }
    await dput(task, await make(parent, last.name));
  });
}

/** mkdirat(2). @throws EEXIST ENOSPC EDQUOT EROFS ENOENT ENOTDIR EACCES ELOOP ENAMETOOLONG */
export function mkdirat(task: Task, p: Process, dirfd: number, name: string, mode: number): Promise<void> {
  return making(task, p, dirfd, name, true, (parent, last) => do_mkdir(task, parent, last, mode));
}

/** mknodat(2). @param mode S_IF* and permission bits @param dev as the kernel's new_encode_dev @throws EPERM for devices; EINVAL, and as symlinkat */
export function mknodat(task: Task, p: Process, dirfd: number, name: string, mode: number, dev = 0): Promise<void> {
  return making(task, p, dirfd, name, false, (parent, last) => do_mknod(task, parent, last, mode, dev));
}

/** symlinkat(2). @throws EEXIST ENOSPC EDQUOT EROFS ENOENT ENOTDIR EACCES ELOOP ENAMETOOLONG */
export function symlinkat(task: Task, p: Process, target: string, dirfd: number, name: string): Promise<void> {
  return making(task, p, dirfd, name, false, (parent, last) => do_symlink(task, parent, last, target));
}

/** linkat(2). @param flags AT_SYMLINK_FOLLOW, AT_EMPTY_PATH @throws EINVAL for others; EXDEV EPERM EMLINK, and as symlinkat */
export function linkat(
  task: Task,
  p: Process,
  olddirfd: number,
  oldname: string,
  newdirfd: number,
  newname: string,
  flags: number,
): Promise<void> {
  if ((flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)) !== 0) throw errno('EINVAL');
  const how = (flags & AT_EMPTY_PATH) | ((flags & AT_SYMLINK_FOLLOW) === 0 ? AT_SYMLINK_NOFOLLOW : 0);
  return withPath(task, user_path_at(task, p, olddirfd, oldname, how), (old) =>
    making(task, p, newdirfd, newname, false, (parent, last) => {
      if (parent.d_sb !== old.d_sb) throw errno('EXDEV');
      return do_link(task, old, parent, last);
    }),
  );
}

/** unlinkat(2). @param flags AT_REMOVEDIR @throws EINVAL for others; EISDIR EBADF, and as unlink or rmdir */
export function unlinkat(task: Task, p: Process, dirfd: number, name: string, flags: number): Promise<void> {
  if ((flags & ~AT_REMOVEDIR) !== 0) throw errno('EINVAL');
  const directory = (flags & AT_REMOVEDIR) !== 0;
  return withParent(task, p, dirfd, name, async (parent, last) => {
    if (directory) {
      const refused = { dot: 'EINVAL', dotdot: 'ENOTEMPTY', root: 'EBUSY', norm: undefined } as const;
      const code = refused[last.type];
      if (code !== undefined) throw errno(code);
      return do_rmdir(task, parent, last.name);
    }
    if (last.type !== 'norm') throw errno('EISDIR');
    if (last.slash) {
      const dentry = await lookup_permitted(task, parent, last.name, 0);
      const { d_inode: inode } = dentry;
      await dput(task, dentry);
      throw errno(inode === undefined ? 'ENOENT' : isDir(inode) ? 'EISDIR' : 'ENOTDIR');
    }
    return do_unlink(task, parent, last.name);
  });
}

/** renameat2(2). @param flags RENAME_* @throws EBUSY for '.' and '..'; EXDEV EEXIST EINVAL EISDIR ENOTEMPTY EPERM EROFS ENOSPC EDQUOT EBADF, and as unlink */
export function renameat2(
  task: Task,
  p: Process,
  olddirfd: number,
  oldname: string,
  newdirfd: number,
  newname: string,
  flags: number,
): Promise<void> {
  return withParent(task, p, olddirfd, oldname, (from, old) =>
    withParent(task, p, newdirfd, newname, async (to, target) => {
      if (from.d_sb !== to.d_sb) throw errno('EXDEV');
      if (old.type !== 'norm') throw errno('EBUSY');
      if (target.type !== 'norm') throw errno((flags & RENAME_NOREPLACE) !== 0 ? 'EEXIST' : 'EBUSY');
      if (old.slash || target.slash) await slashesNeedDirectory(task, from, old);
      await do_rename(task, from, old.name, to, target.name, flags);
    }),
  );
}

/** @throws ENOTDIR where a name with slashes behind is not a directory's */
async function slashesNeedDirectory(task: Task, parent: Dentry, last: Last): Promise<void> {
  const dentry = await lookup_permitted(task, parent, last.name, 0);
  const { d_inode: inode } = dentry;
  await dput(task, dentry);
  if (inode !== undefined && !isDir(inode)) throw errno('ENOTDIR');
}

/** mkdir(2). @throws as mkdirat */
export function mkdir(task: Task, p: Process, name: string, mode: number): Promise<void> {
  return mkdirat(task, p, AT_FDCWD, name, mode);
}

/** mknod(2). @throws as mknodat */
export function mknod(task: Task, p: Process, name: string, mode: number, dev = 0): Promise<void> {
  return mknodat(task, p, AT_FDCWD, name, mode, dev);
}

/** symlink(2). @throws as symlinkat */
export function symlink(task: Task, p: Process, target: string, name: string): Promise<void> {
  return symlinkat(task, p, target, AT_FDCWD, name);
}

/** link(2): of a symlink itself. @throws as linkat */
export function link(task: Task, p: Process, oldname: string, newname: string): Promise<void> {
  return linkat(task, p, AT_FDCWD, oldname, AT_FDCWD, newname, 0);
}

/** unlink(2). @throws EISDIR EPERM EROFS ENOENT ENOTDIR EACCES ELOOP ENAMETOOLONG */
export function unlink(task: Task, p: Process, name: string): Promise<void> {
  return unlinkat(task, p, AT_FDCWD, name, 0);
}

/** rmdir(2). @throws ENOTEMPTY EBUSY EINVAL EPERM EROFS ENOENT ENOTDIR EACCES ELOOP ENAMETOOLONG */
export function rmdir(task: Task, p: Process, name: string): Promise<void> {
  return unlinkat(task, p, AT_FDCWD, name, AT_REMOVEDIR);
}

/** rename(2). @throws as renameat2 */
export function rename(task: Task, p: Process, oldname: string, newname: string): Promise<void> {
  return renameat2(task, p, AT_FDCWD, oldname, AT_FDCWD, newname, 0);
}

/** readlink(2). @throws EINVAL for what is no symlink; ENOENT ENOTDIR EACCES ELOOP ENAMETOOLONG */
export function readlink(task: Task, p: Process, name: string): Promise<string> {
  return readlinkat(task, p, AT_FDCWD, name);
}

/** readlinkat(2). @throws EBADF, and as readlink */
export function readlinkat(task: Task, p: Process, dirfd: number, name: string): Promise<string> {
  return withPath(task, path_lookup(task, p.fs, startOf(p, dirfd), name, LOOKUP_EMPTY), (path) =>
    vfs_readlink(task, path),
  );
}

/** chdir(2). @throws ENOTDIR EACCES ENOENT */
export async function chdir(task: Task, p: Process, name: string): Promise<void> {
  const path = await path_lookup(task, p.fs, p.fs.cwd, name, LOOKUP_FOLLOW | LOOKUP_DIRECTORY);
  await enter(task, p, path);
}

/** fchdir(2). @throws EBADF ENOTDIR EACCES */
export async function fchdir(task: Task, p: Process, fd: number): Promise<void> {
  await enter(task, p, dget(startOf(p, fd)));
}

async function enter(task: Task, p: Process, path: Dentry): Promise<void> {
  try {
    const { d_inode: inode } = path;
    if (inode === undefined || !isDir(inode)) throw errno('ENOTDIR');
    await inode_permission(task, inode, MAY_EXEC | MAY_CHDIR, { inode: inode.i_rwsem });
  } catch (error) {
    await dput(task, path);
    throw error;
  }
  await set_fs_pwd(task, p, path);
}

/** chroot(2). @throws EPERM, and as chdir */
export async function chroot(task: Task, p: Process, name: string): Promise<void> {
  const path = await path_lookup(task, p.fs, p.fs.cwd, name, LOOKUP_FOLLOW | LOOKUP_DIRECTORY);
  if (!task.cred.capable('CAP_SYS_ADMIN')) {
    await dput(task, path);
    throw errno('EPERM');
  }
  const { root } = p.fs;
  p.fs.root = path;
  await dput(task, root);
}

/** getcwd(2). @throws ENOENT where it was removed */
export function getcwd(task: Task, p: Process): string {
  const path = d_path(task, p.fs.cwd, p.fs.root);
  if (path.endsWith(' (deleted)')) throw errno('ENOENT');
  return path;
}

/** umask(2). @returns the one before */
export function umask(_task: Task, p: Process, mask: number): number {
  const before = p.umask;
  p.umask = mask & 0o777;
  return before;
}
