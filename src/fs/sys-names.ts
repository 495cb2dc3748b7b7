/** System calls on names: opening, making, linking, removing, renaming; and where a process is (fs/namei.c, fs/open.c). */
import type { Awaitable } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { d_path } from './d-path.js';
import { dget, dput } from './dcache.js';
import { DCACHE_MANAGED_DENTRY, type Dentry } from './dentry.js';
import { File, FMODE_OPENED, FMODE_PATH } from './file.js';
import { lookup_permitted } from './lookup.js';
import { do_link, do_mkdir, do_mknod, do_rename, do_rmdir, do_symlink, do_unlink, vfs_readlink } from './namei.js';
import { follow_managed } from './namespace.js';
import { open_or_create, open_uncached, vfs_open, vfs_tmpfile_open } from './open.js';
import { O_ACCMODE, O_CLOEXEC, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_PATH, O_TMPFILE } from './open-flags.js';
import {
  type Last,
  LOOKUP_BENEATH,
  LOOKUP_CACHED,
  LOOKUP_DIRECTORY,
  LOOKUP_EMPTY,
  LOOKUP_FOLLOW,
  LOOKUP_IN_ROOT,
  LOOKUP_NO_MAGICLINKS,
  LOOKUP_NO_SYMLINKS,
  LOOKUP_NO_XDEV,
  path_lookup,
  path_parent,
  read_link_at,
} from './path-walk.js';
import { inode_permission, isDir, MAY_CHDIR, MAY_EXEC } from './permission.js';
import { close_fd, type Process, set_fs_pwd } from './process.js';
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_REMOVEDIR,
  AT_SYMLINK_FOLLOW,
  AT_SYMLINK_NOFOLLOW,
  startOf,
  user_path_at,
  withPath,
} from './sys-path.js';

/** RESOLVE_* of openat2(2). */
export const RESOLVE_NO_XDEV = 1;
export const RESOLVE_NO_MAGICLINKS = 2;
export const RESOLVE_NO_SYMLINKS = 4;
export const RESOLVE_BENEATH = 8;
export const RESOLVE_IN_ROOT = 16;
export const RESOLVE_CACHED = 32;

const S_IFMT = 0o170000;
const S_IFLNK = 0o120000;
const MAXSYMLINKS = 40;

/** RESOLVE_* as LOOKUP_*. @throws EINVAL */
function resolveFlags(resolve: number): number {
  if ((resolve & ~0x3f) !== 0) throw errno('EINVAL');
  if ((resolve & RESOLVE_BENEATH) !== 0 && (resolve & RESOLVE_IN_ROOT) !== 0) throw errno('EINVAL');
  const map: readonly (readonly [number, number])[] = [
    [RESOLVE_NO_XDEV, LOOKUP_NO_XDEV],
    [RESOLVE_NO_MAGICLINKS, LOOKUP_NO_MAGICLINKS],
    [RESOLVE_NO_SYMLINKS, LOOKUP_NO_SYMLINKS],
    [RESOLVE_BENEATH, LOOKUP_BENEATH],
    [RESOLVE_IN_ROOT, LOOKUP_IN_ROOT],
    [RESOLVE_CACHED, LOOKUP_CACHED],
  ];
  return map.reduce((flags, [from, to]) => ((resolve & from) !== 0 ? flags | to : flags), 0);
}

/** @throws EINVAL for O_TMPFILE that does not write (build_open_flags) */
function checkOpenFlags(flags: number): void {
  const tmpfileBit = O_TMPFILE & ~O_DIRECTORY;
  if ((flags & tmpfileBit) !== 0) {
    if ((flags & (O_TMPFILE | O_CREAT)) !== O_TMPFILE || (flags & O_ACCMODE) === 0) throw errno('EINVAL');
  } else if ((flags & O_CREAT) !== 0 && (flags & O_DIRECTORY) !== 0) throw errno('EINVAL');
}

/** A file of O_PATH: it names something and does nothing. */
function pathFile(task: Task, path: Dentry): File {
  const { d_inode: inode } = path;
  if (inode === undefined) throw errno('ENOENT');
  const file = new File(dget(path), inode, O_PATH, FMODE_PATH | FMODE_OPENED, task.cred);
  file.f_op = {};
  return file;
}

/** Open what a path names, or make it (path_openat). */
async function do_filp_open(
  task: Task,
  p: Process,
  start: Dentry,
  name: string,
  flags: number,
  mode: number,
  resolve: number,
): Promise<File> {
  const follow = (flags & O_NOFOLLOW) === 0 && (flags & (O_CREAT | O_EXCL)) !== (O_CREAT | O_EXCL) ? LOOKUP_FOLLOW : 0;
  const directory = (flags & O_DIRECTORY) !== 0 ? LOOKUP_DIRECTORY : 0;
  const lookup = resolve | follow | directory;
  if ((flags & O_TMPFILE) === O_TMPFILE) {
    return withPath(task, path_lookup(task, p.fs, start, name, resolve | LOOKUP_FOLLOW | LOOKUP_DIRECTORY), (path) =>
      vfs_tmpfile_open(task, path, flags, mode),
    );
  }
  if ((flags & O_PATH) !== 0) {
    return withPath(task, path_lookup(task, p.fs, start, name, lookup), (path) => pathFile(task, path));
  }
  if ((flags & O_CREAT) === 0) {
    const opened = (resolve & LOOKUP_CACHED) === 0 ? await openLast(task, p, start, name, flags, resolve) : undefined;
    return (
      opened ?? withPath(task, path_lookup(task, p.fs, start, name, lookup), (path) => vfs_open(task, path, flags))
    );
  }
  return openCreating(task, p, start, name, flags, mode, resolve);
}

/** Let the filesystem open the last name of a path itself, where nobody has looked it up yet. @returns undefined where it does not */
async function openLast(
  task: Task,
  p: Process,
  start: Dentry,
  name: string,
  flags: number,
  resolve: number,
): Promise<File | undefined> {
  const { path, last } = await path_parent(task, p.fs, start, name, resolve);
  return withPath(task, path, () =>
    last.type === 'norm' && !last.slash ? open_uncached(task, path, last.name, flags) : undefined,
  );
}

/** open with O_CREAT: a symlink in the last place is followed, also one to a file that is to be made. */
async function openCreating(
  task: Task,
  p: Process,
  start: Dentry,
  name: string,
  flags: number,
  mode: number,
  resolve: number,
): Promise<File> {
  let from = dget(start);
  let rest = name;
  try {
    for (let links = 0; ; links++) {
      if (links > MAXSYMLINKS) throw errno('ELOOP');
      const { path, last } = await path_parent(task, p.fs, from, rest, resolve);
      await dput(task, from);
      from = path;
      if (last.type !== 'norm') throw errno((flags & O_EXCL) !== 0 ? 'EEXIST' : 'EISDIR');
      if (last.slash) throw errno('EISDIR');
      const link = await symlinkAt(task, path, last);
      if (link === undefined) {
        const crossed = await mountedAt(task, path, last);
        if (crossed !== undefined) return await withPath(task, crossed, (at) => vfs_open(task, at, flags));
        const { file, dentry } = await open_or_create(task, path, last.name, flags, mode);
        await dput(task, dentry);
        return file;
      }
      if ((flags & (O_EXCL | O_NOFOLLOW)) !== 0) {
        await dput(task, link);
        throw errno((flags & O_EXCL) !== 0 ? 'EEXIST' : 'ELOOP');
      }
      const target = await read_link_at(task, p.fs, path, link, resolve, links);
      if (typeof target !== 'string') return await withPath(task, target, (at) => vfs_open(task, at, flags));
      rest = target;
    }
  } finally {
    await dput(task, from);
  }
}

async function symlinkAt(task: Task, parent: Dentry, last: Last): Promise<Dentry | undefined> {
  const dir = parent.d_inode;
  if (dir === undefined || !isDir(dir)) throw errno('ENOTDIR');
  await inode_permission(task, dir, MAY_EXEC, { inode: dir.i_rwsem });
  const dentry = await lookup_permitted(task, parent, last.name, 0);
  if (((dentry.d_inode?.i_mode ?? 0) & S_IFMT) === S_IFLNK) return dentry;
  await dput(task, dentry);
  return undefined;
}

/** What is mounted on a name, with a reference. */
async function mountedAt(task: Task, parent: Dentry, last: Last): Promise<Dentry | undefined> {
  const dentry = await lookup_permitted(task, parent, last.name, 0);
  if ((dentry.d_flags & DCACHE_MANAGED_DENTRY) !== 0) return follow_managed(task, dentry);
  await dput(task, dentry);
  return undefined;
}

/** What openat2(2) is told (struct open_how). */
export interface OpenHow {
  readonly flags: number;
  readonly mode?: number;
  /** RESOLVE_*. */
  readonly resolve?: number;
}

/** @returns a descriptor @throws EMFILE EINVAL, and what walking and opening throw */
export async function openat2(task: Task, p: Process, dirfd: number, name: string, how: OpenHow): Promise<number> {
  checkOpenFlags(how.flags);
  const resolve = resolveFlags(how.resolve ?? 0);
  p.files.reserve();
  const mode = (how.mode ?? 0) & 0o7777;
  const file = await do_filp_open(task, p, startOf(p, dirfd), name, how.flags, mode, resolve);
  return p.files.install(file, (how.flags & O_CLOEXEC) !== 0);
}

export function openat(task: Task, p: Process, dirfd: number, name: string, flags: number, mode = 0): Promise<number> {
  return openat2(task, p, dirfd, name, { flags, mode });
}

export function open(task: Task, p: Process, name: string, flags: number, mode = 0): Promise<number> {
  return openat2(task, p, AT_FDCWD, name, { flags, mode });
}

export function close(task: Task, p: Process, fd: number): Promise<void> {
  return close_fd(task, p, fd);
}

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

export function mkdirat(task: Task, p: Process, dirfd: number, name: string, mode: number): Promise<void> {
  return making(task, p, dirfd, name, true, (parent, last) => do_mkdir(task, parent, last, mode));
}

/** @param dev as the kernel's new_encode_dev */
export function mknodat(task: Task, p: Process, dirfd: number, name: string, mode: number, dev = 0): Promise<void> {
  return making(task, p, dirfd, name, false, (parent, last) => do_mknod(task, parent, last, mode, dev));
}

export function symlinkat(task: Task, p: Process, target: string, dirfd: number, name: string): Promise<void> {
  return making(task, p, dirfd, name, false, (parent, last) => do_symlink(task, parent, last, target));
}

/** @param flags AT_SYMLINK_FOLLOW, AT_EMPTY_PATH */
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

/** @param flags AT_REMOVEDIR */
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

/** @param flags RENAME_* */
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
      if (target.type !== 'norm') throw errno((flags & 1) !== 0 ? 'EEXIST' : 'EBUSY');
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

export function mkdir(task: Task, p: Process, name: string, mode: number): Promise<void> {
  return mkdirat(task, p, AT_FDCWD, name, mode);
}

export function mknod(task: Task, p: Process, name: string, mode: number, dev = 0): Promise<void> {
  return mknodat(task, p, AT_FDCWD, name, mode, dev);
}

export function symlink(task: Task, p: Process, target: string, name: string): Promise<void> {
  return symlinkat(task, p, target, AT_FDCWD, name);
}

export function link(task: Task, p: Process, oldname: string, newname: string): Promise<void> {
  return linkat(task, p, AT_FDCWD, oldname, AT_FDCWD, newname, 0);
}

export function unlink(task: Task, p: Process, name: string): Promise<void> {
  return unlinkat(task, p, AT_FDCWD, name, 0);
}

export function rmdir(task: Task, p: Process, name: string): Promise<void> {
  return unlinkat(task, p, AT_FDCWD, name, AT_REMOVEDIR);
}

export function rename(task: Task, p: Process, oldname: string, newname: string): Promise<void> {
  return renameat2(task, p, AT_FDCWD, oldname, AT_FDCWD, newname, 0);
}

export function readlink(task: Task, p: Process, name: string): Promise<string> {
  return readlinkat(task, p, AT_FDCWD, name);
}

export function readlinkat(task: Task, p: Process, dirfd: number, name: string): Promise<string> {
  return withPath(task, path_lookup(task, p.fs, startOf(p, dirfd), name, LOOKUP_EMPTY), (path) =>
    vfs_readlink(task, path),
  );
}

/** @throws ENOTDIR EACCES */
export async function chdir(task: Task, p: Process, name: string): Promise<void> {
  const path = await path_lookup(task, p.fs, p.fs.cwd, name, LOOKUP_FOLLOW | LOOKUP_DIRECTORY);
  await enter(task, p, path);
}

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

/** @throws EPERM */
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

/** @throws ENOENT where it was removed */
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
