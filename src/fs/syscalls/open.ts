/** open(2) and its relatives (fs/open.c, path_openat in fs/namei.c). */

import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import {
  AT_FDCWD,
  O_ACCMODE,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_PATH,
  O_TMPFILE,
  O_TRUNC,
  RESOLVE_BENEATH,
  RESOLVE_CACHED,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
  VALID_OPEN_FLAGS,
} from '../../uapi/fcntl.js';
import { S_IALLUGO } from '../../uapi/stat.js';
import { dget, dput } from '../dcache.js';
import type { Dentry } from '../dentry.js';
import { File, FMODE_OPENED, FMODE_PATH } from '../file.js';
import { lookup_permitted } from '../namei/lookup.js';
import { do_open, open_last_lookups } from '../namei/open-last.js';
import { path_lookup, path_open } from '../namei/path-walk.js';
import {
  type Last,
  LOOKUP_BENEATH,
  LOOKUP_CACHED,
  LOOKUP_DIRECTORY,
  LOOKUP_FOLLOW,
  LOOKUP_IN_ROOT,
  LOOKUP_NO_MAGICLINKS,
  LOOKUP_NO_SYMLINKS,
  LOOKUP_NO_XDEV,
} from '../namei/walk.js';
import { vfs_open, vfs_tmpfile_open } from '../open.js';
import { startOf, withPath } from './path.js';
import { close_fd, type Process } from './process.js';

/** The bit of O_TMPFILE alone (__O_TMPFILE). */
const TMPFILE = O_TMPFILE & ~O_DIRECTORY;
/** What may come with O_PATH. */
const O_PATH_FLAGS = O_DIRECTORY | O_NOFOLLOW | O_PATH | O_CLOEXEC;

/** What openat2(2) is told (struct open_how). */
export interface OpenHow {
  /** O_*. */
  readonly flags: number;
  /** Permission bits of what is made. */
  readonly mode?: number;
  /** RESOLVE_*. */
  readonly resolve?: number;
}

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

function willCreate(flags: number): boolean {
  return (flags & (O_CREAT | TMPFILE)) !== 0;
}

/**
 * What can be opened at all (build_open_flags).
 * @throws EINVAL for what does not go together; EAGAIN with RESOLVE_CACHED for what must wait anyway
 */
function checkHow({ flags, mode = 0, resolve = 0 }: OpenHow): void {
  if ((flags & ~VALID_OPEN_FLAGS) !== 0) throw errno('EINVAL');
  if ((mode & ~(willCreate(flags) ? S_IALLUGO : 0)) !== 0) throw errno('EINVAL');
  if ((flags & O_CREAT) !== 0 && (flags & O_DIRECTORY) !== 0) throw errno('EINVAL');
  if ((flags & TMPFILE) !== 0) {
    if ((flags & O_DIRECTORY) === 0 || (flags & O_ACCMODE) === 0) throw errno('EINVAL');
  } else if ((flags & O_PATH) !== 0 && (flags & ~O_PATH_FLAGS) !== 0) throw errno('EINVAL');
  if ((resolve & RESOLVE_CACHED) !== 0 && (willCreate(flags) || (flags & O_TRUNC) !== 0)) throw errno('EAGAIN');
}

/** A file of O_PATH: it names something and does nothing. */
function pathFile(task: Task, path: Dentry): File {
  const { d_inode: inode } = path;
  if (inode === undefined) throw errno('ENOENT');
  const file = new File(dget(path), inode, O_PATH, FMODE_PATH | FMODE_OPENED, task.cred);
  file.f_op = {};
  return file;
}

/** Open what a path names, or make it (do_filp_open). @param resolve LOOKUP_* */
function do_filp_open(
  task: Task,
  p: Process,
  start: Dentry,
  name: string,
  { flags, mode = 0 }: OpenHow,
  resolve: number,
): Promise<File> {
  if ((flags & TMPFILE) !== 0) {
    return withPath(task, path_lookup(task, p.fs, start, name, resolve | LOOKUP_FOLLOW | LOOKUP_DIRECTORY), (path) =>
      vfs_tmpfile_open(task, path, flags, mode),
    );
  }
  const creates = (flags & O_CREAT) !== 0;
  const exclusive = creates && (flags & O_EXCL) !== 0;
  const follow = (flags & O_NOFOLLOW) === 0 && !exclusive ? LOOKUP_FOLLOW : 0;
  const directory = (flags & O_DIRECTORY) !== 0 ? LOOKUP_DIRECTORY : 0;
  const lookup = resolve | follow | directory;
  if ((flags & O_PATH) !== 0) {
    return withPath(task, path_lookup(task, p.fs, start, name, lookup), (path) => pathFile(task, path));
  }
  return path_open<File>(task, p.fs, start, name, lookup, {
    creates,
    look: (parent, last) => openLast(task, parent, last, flags, mode),
    open: (path) => {
      if (exclusive) throw errno('EEXIST');
      return vfs_open(task, path, flags);
    },
  });
}

/** The last name of a path that is opened: what the filesystem makes or opens of it by itself, or else what is there. */
async function openLast(task: Task, parent: Dentry, last: Last, flags: number, mode: number): Promise<File | Dentry> {
  if (last.slash) {
    if ((flags & O_CREAT) !== 0) throw errno('EISDIR');
    return lookup_permitted(task, parent, last.name, 0);
  }
  const looked = await open_last_lookups(task, parent, last.name, flags, mode);
  if (!looked.created && looked.file === undefined) return looked.dentry;
  const { file, dentry } = await do_open(task, looked, flags);
  await dput(task, dentry);
  return file;
}

/**
 * openat2(2).
 * @param name bytes in latin1
 * @returns a descriptor @throws EMFILE EINVAL; EAGAIN with RESOLVE_CACHED; what walking and opening throw
 */
export async function openat2(task: Task, p: Process, dirfd: number, name: string, how: OpenHow): Promise<number> {
  const resolve = resolveFlags(how.resolve ?? 0);
  checkHow(how);
  p.files.reserve();
  const file = await do_filp_open(task, p, startOf(p, dirfd), name, how, resolve);
  return p.files.install(file, (how.flags & O_CLOEXEC) !== 0);
}

/** openat(2): what openat2(2) refuses is ignored (build_open_how). @throws as openat2 */
export function openat(task: Task, p: Process, dirfd: number, name: string, flags: number, mode = 0): Promise<number> {
  const known = flags & ((flags & O_PATH) !== 0 ? O_PATH_FLAGS : VALID_OPEN_FLAGS);
  return openat2(task, p, dirfd, name, { flags: known, mode: willCreate(known) ? mode & S_IALLUGO : 0 });
}

/** open(2). @throws as openat2 */
export function open(task: Task, p: Process, name: string, flags: number, mode = 0): Promise<number> {
  return openat(task, p, AT_FDCWD, name, flags, mode);
}

/** close(2). @throws EBADF; what the filesystem reports */
export function close(task: Task, p: Process, fd: number): Promise<void> {
  return close_fd(task, p, fd);
}
