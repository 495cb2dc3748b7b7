/** Making names, and reading symlinks (fs/namei.c). All else that fs/namei.c does is in namei/: looking names up (lookup.ts), removing them, rename, permission, walking paths (path-walk.ts). */

import { inode_operations as rows } from '../contract/inode.js';
import { call, invoke, take } from '../locking/context.js';
import { type Held, release_held } from '../locking/held.js';
import { type Awaitable, andThen, orElse, withCleanup } from '../sched/awaitable.js';
import { type Errno, errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { PATH_MAX } from '../uapi/limits.js';
import { S_IALLUGO, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFMT, S_IFREG, S_IFSOCK } from '../uapi/stat.js';
import { d_rehash, dput, putAndThrow } from './dcache.js';
import type { Dentry } from './dentry.js';
import {
  I_LINKABLE,
  I_MUTEX_NORMAL,
  I_MUTEX_PARENT,
  type Inode,
  inode_state_change,
  isDir,
  S_APPEND,
  S_IMMUTABLE,
} from './inode.js';
import { mode_strip_sgid } from './inode-owner.js';
import { try_break_deleg, waiting_for_delegations } from './locks/break-lease.js';
import { dirOf, LOOKUP_CREATE, LOOKUP_EXCL, lookup_locked } from './namei/lookup.js';
import { may_create } from './namei/permission.js';
import { SB_POSIXACL } from './super-block.js';
import {
  assert_sb_write_started,
  mnt_want_write_or_refusal,
  sb_end_write,
  type WriteOrRefusal,
  type Writing,
} from './super-freeze.js';
import { touch_atime } from './time.js';

export { dirOf, lookup_locked, lookup_one } from './namei/lookup.js';
export { do_rmdir, do_unlink, vfs_rmdir, vfs_unlink } from './namei/remove.js';
export { do_rename } from './namei/rename.js';

/**
 * The mode with which a filesystem is asked to make a file (vfs_prepare_mode): without setgid where the caller may not give it, and without
 * the bits of the umask, unless the filesystem has access control lists and applies it itself (posix_acl_create).
 * @param perms the permission bits that may be asked for
 * @param type S_IF*
 */
export function vfs_prepare_mode(task: Task, dir: Inode, mode: number, perms: number, type: number): number {
  const stripped = mode_strip_sgid(task, dir, (mode & S_IALLUGO) | type);
  const umask = (dir.i_sb.s_flags & SB_POSIXACL) === 0 ? task.umask : 0;
  return type | (stripped & perms & ~umask);
}

/** What a directory or a file may have of links, or EMLINK. */
function checkLinks(inode: Inode): void {
  const { s_max_links: max } = inode.i_sb;
  if (max > 0 && inode.i_nlink >= max) throw errno('EMLINK');
}

type CreatingRow = typeof rows.create | typeof rows.mkdir | typeof rows.mknod | typeof rows.symlink | typeof rows.link;

/** A name that is being made (filename_create). */
interface Creating {
  readonly row: CreatingRow;
  readonly parent: Dentry;
  readonly name: string;
  /** Has the filesystem make it, with the lock of `dir` held. */
  readonly make: (task: Task, dir: Inode, dentry: Dentry, creating: Creating) => Awaitable<void>;
  /** S_IF* and permission bits, not yet cut by the umask. */
  readonly mode: number;
  readonly rdev?: number;
  readonly excl?: boolean;
  /** Where a symlink leads. */
  readonly target?: string;
  /** What gets a second name. */
  readonly old?: Dentry;
}

/**
 * Make a name in its parent, under the lock that the operation's row wants (filename_create, done_path_create).
 * @returns the dentry, with a reference
 */
function creating(task: Task, c: Creating): Awaitable<Dentry> {
  return andThen(mnt_want_write_or_refusal(task, dirOf(c.parent).i_sb), createAsWriter, task, c);
}

function createAsWriter({ writing, refused }: WriteOrRefusal, task: Task, c: Creating): Awaitable<Dentry> {
  return withCleanup(lockAndCreate, sb_end_write, writing, task, c, refused);
}

function lockAndCreate(_writing: Writing, task: Task, c: Creating, refused: Errno | undefined): Awaitable<Dentry> {
  const locked = take(task, c.row, 'dir', dirOf(c.parent).i_rwsem, I_MUTEX_PARENT);
  return andThen(locked, createLocked, task, c, refused);
}

function createLocked(held: Held, task: Task, c: Creating, refused: Errno | undefined): Awaitable<Dentry> {
  return withCleanup(lookUpAndCreate, release_held, held, task, c, refused);
}

function lookUpAndCreate(_held: Held, task: Task, c: Creating, refused: Errno | undefined): Awaitable<Dentry> {
  const found = lookup_locked(task, c.parent, c.name, LOOKUP_CREATE | LOOKUP_EXCL);
  return andThen(found, createFound, task, c, refused);
}

function createFound(dentry: Dentry, task: Task, c: Creating, refused: Errno | undefined): Awaitable<Dentry> {
  return orElse(makeNamed, putAndThrow, task, dentry, c, refused);
}

function makeNamed(task: Task, dentry: Dentry, c: Creating, refused: Errno | undefined): Awaitable<Dentry> {
  if (!dentry.isNegative) throw errno('EEXIST');
  if (refused !== undefined) throw refused;
  const made = andThen(may_create(task, dirOf(c.parent), dentry), makePermitted, task, dentry, c);
  return andThen(made, hashMade, task, dentry);
}

function makePermitted(_may: void, task: Task, dentry: Dentry, c: Creating): Awaitable<void> {
  return c.make(task, dirOf(c.parent), dentry, c);
}

function hashMade(_made: void, task: Task, dentry: Dentry): Dentry {
  d_rehash(task, dentry);
  return dentry;
}

/** Make a regular file (mknod(2) of one). @throws EEXIST EACCES ENOSPC EPERM EROFS ENAMETOOLONG */
export function do_create(task: Task, parent: Dentry, name: string, mode: number, excl: boolean): Awaitable<Dentry> {
  return creating(task, { row: rows.create, parent, name, make: makeFile, mode, excl });
}

function makeFile(task: Task, dir: Inode, dentry: Dentry, { mode, excl }: Creating): Awaitable<void> {
  return vfs_create(task, dir, dentry, mode, excl === true);
}

/** With i_rwsem of `dir` held exclusively (vfs_create). @param mode permission bits, not yet cut by the umask @throws EACCES where files cannot be made; what ->create throws */
export function vfs_create(task: Task, dir: Inode, dentry: Dentry, mode: number, excl: boolean): Awaitable<void> {
  const { create } = dir.i_op;
  if (create === undefined) throw errno('EACCES');
  assert_sb_write_started(task, dir.i_sb);
  const bits = vfs_prepare_mode(task, dir, mode, S_IALLUGO, S_IFREG);
  return invoke(task, rows.create, { dir: dir.i_rwsem }, create, dir, dentry, bits, excl);
}

/** mkdir(2). @throws EEXIST EACCES EMLINK ENOSPC EPERM EROFS ENAMETOOLONG */
export function do_mkdir(task: Task, parent: Dentry, name: string, mode: number): Awaitable<Dentry> {
  return creating(task, { row: rows.mkdir, parent, name, make: vfs_mkdir, mode });
}

function vfs_mkdir(task: Task, dir: Inode, dentry: Dentry, { mode }: Creating): Awaitable<void> {
  const { mkdir } = dir.i_op;
  if (mkdir === undefined) throw errno('EPERM');
  const bits = vfs_prepare_mode(task, dir, mode, 0o1777, S_IFDIR);
  checkLinks(dir);
  return invoke(task, rows.mkdir, { dir: dir.i_rwsem }, mkdir, dir, dentry, bits);
}

/**
 * mknod(2). @param rdev as the kernel's new_encode_dev; a character device 0 is a whiteout, which anybody may make
 * @throws EINVAL for a type that does not exist; EPERM for a directory, or a device without CAP_MKNOD; and as do_create
 */
export function do_mknod(task: Task, parent: Dentry, name: string, mode: number, rdev: number): Awaitable<Dentry> {
  const type = mode & S_IFMT;
  if (type === S_IFREG || type === 0) return do_create(task, parent, name, mode, true);
  if (type === S_IFDIR) throw errno('EPERM');
  if (!isDevice(type) && type !== S_IFIFO && type !== S_IFSOCK) throw errno('EINVAL');
  return creating(task, { row: rows.mknod, parent, name, make: vfs_mknod, mode, rdev });
}

function isDevice(type: number): boolean {
  return type === S_IFCHR || type === S_IFBLK;
}

function vfs_mknod(task: Task, dir: Inode, dentry: Dentry, { mode, rdev = 0 }: Creating): Awaitable<void> {
  const type = mode & S_IFMT;
  const device = isDevice(type);
  const whiteout = type === S_IFCHR && rdev === 0;
  if (device && !whiteout && !task.cred.capable('CAP_MKNOD')) throw errno('EPERM');
  const { mknod } = dir.i_op;
  if (mknod === undefined) throw errno('EPERM');
  const bits = vfs_prepare_mode(task, dir, mode, S_IALLUGO, type);
  return invoke(task, rows.mknod, { dir: dir.i_rwsem }, mknod, dir, dentry, bits, device ? rdev : 0);
}

/** symlink(2). @throws ENOENT for an empty target; ENAMETOOLONG beyond PATH_MAX; and as do_create */
export function do_symlink(task: Task, parent: Dentry, name: string, target: string): Awaitable<Dentry> {
  if (target === '') throw errno('ENOENT');
  if (target.length >= PATH_MAX) throw errno('ENAMETOOLONG');
  return creating(task, { row: rows.symlink, parent, name, make: vfs_symlink, mode: 0, target });
}

function vfs_symlink(task: Task, dir: Inode, dentry: Dentry, { target = '' }: Creating): Awaitable<void> {
  const { symlink } = dir.i_op;
  if (symlink === undefined) throw errno('EPERM');
  return invoke(task, rows.symlink, { dir: dir.i_rwsem }, symlink, dir, dentry, target);
}

/**
 * A second name for `old` (vfs_link); the first for a file of O_TMPFILE without O_EXCL.
 * @throws EPERM for a directory, an immutable or append-only file; ENOENT for one that has no name left; EMLINK EXDEV; and as do_create
 */
export function do_link(task: Task, old: Dentry, parent: Dentry, name: string): Awaitable<Dentry> {
  return waiting_for_delegations(linkOnce, task, old, parent, name);
}

function linkOnce(task: Task, old: Dentry, parent: Dentry, name: string): Awaitable<Dentry> {
  const inode = old.d_inode;
  if (inode === undefined) throw errno('ENOENT');
  return creating(task, { row: rows.link, parent, name, make: vfs_link, mode: 0, old });
}

function vfs_link(task: Task, dir: Inode, dentry: Dentry, { old }: Creating): Awaitable<void> {
  const inode = old?.d_inode;
  if (old === undefined || inode === undefined) throw errno('ENOENT');
  if (inode.i_sb !== dir.i_sb) throw errno('EXDEV');
  const fixed = (inode.i_flags & (S_APPEND | S_IMMUTABLE)) !== 0;
  if (fixed || dir.i_op.link === undefined || isDir(inode)) throw errno('EPERM');
  const locked = take(task, rows.link, 'inode', inode.i_rwsem, I_MUTEX_NORMAL);
  return andThen(locked, linkLocked, task, old, inode, dir, dentry);
}

function linkLocked(held: Held, task: Task, old: Dentry, inode: Inode, dir: Inode, dentry: Dentry): Awaitable<void> {
  return withCleanup(linkInode, release_held, held, task, old, inode, dir, dentry);
}

function linkInode(_held: Held, task: Task, old: Dentry, inode: Inode, dir: Inode, dentry: Dentry): Awaitable<void> {
  const { link } = dir.i_op;
  if (link === undefined) throw errno('EPERM');
  if (inode.i_nlink === 0 && (inode.i_state & I_LINKABLE) === 0) throw errno('ENOENT');
  checkLinks(inode);
  try_break_deleg(task, inode);
  const locks = { dir: dir.i_rwsem, inode: inode.i_rwsem };
  return andThen(invoke(task, rows.link, locks, link, old, dir, dentry), unlinkable, task, inode);
}

/** A file of O_TMPFILE has a name now: another one it gets as every file does. */
function unlinkable(_linked: void, task: Task, inode: Inode): void {
  if ((inode.i_state & I_LINKABLE) !== 0) inode_state_change(task, inode, 0, I_LINKABLE);
}

/** The target of a symlink (vfs_readlink). Moves atime. @throws EINVAL for anything else */
export function vfs_readlink(task: Task, dentry: Dentry): Awaitable<string> {
  const inode = dentry.d_inode;
  const { readlink, get_link } = inode?.i_op ?? {};
  if (inode === undefined || (readlink === undefined && get_link === undefined)) throw errno('EINVAL');
  return andThen(touch_atime(task, inode), () => {
    if (readlink !== undefined) {
      return call(task, rows.readlink, { inode: inode.i_rwsem }, () => readlink(task, dentry));
    }
    return andThen(vfs_get_link(task, dentry, inode), (target) => {
      if (typeof target === 'string') return target;
      return andThen(dput(task, target), () => {
        throw errno('EINVAL');
      });
    });
  });
}

/** As vfs_get_link, in an RCU walk. @throws ECHILD where it is not known without a wait */
export function vfs_get_link_rcu(task: Task, inode: Inode): string {
  const { get_link } = inode.i_op;
  if (get_link === undefined) throw errno('ECHILD');
  const participants = { inode: inode.i_rwsem, walk: inode.i_sb.rcu };
  const target = call(task, rows.get_link, participants, () => get_link(task, undefined, inode));
  // A magic link gives out a reference: not here.
  if (typeof target !== 'string') throw errno('ECHILD');
  return target;
}

/** The target of a symlink, as a path walk or readlink asks for it, or where a magic one leads, with a reference (vfs_get_link). @throws EINVAL */
export function vfs_get_link(task: Task, dentry: Dentry, inode: Inode): Awaitable<string | Dentry> {
  const { get_link } = inode.i_op;
  if (get_link === undefined) throw errno('EINVAL');
  return call(task, rows.get_link, { inode: inode.i_rwsem }, () => get_link(task, dentry, inode));
}
