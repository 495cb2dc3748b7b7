/** Walking a path to what it names (fs/namei.c link_path_walk, path_lookupat): at first without references under RCU, and where that does not do, by reference. */
import { dentry_operations as dentry_rows } from '../contract/dentry.js';
import { call } from '../locking/context.js';
import { errno, isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { d_lookup, dentryLocksAndRcu, dget, dput } from './dcache.js';
import { DCACHE_MANAGE_TRANSIT, DCACHE_MANAGED_DENTRY, DCACHE_NEED_AUTOMOUNT, type Dentry } from './dentry.js';
import { d_revalidate, dirOf, LOOKUP_RCU, lookup_permitted, PATH_MAX } from './lookup.js';
import { vfs_get_link, vfs_get_link_rcu } from './namei.js';
import { follow_managed, lookup_mnt, mountpoint_of } from './namespace.js';
import { inode_permission, isDir, MAY_EXEC, MAY_NOT_BLOCK } from './permission.js';
import { atime_needs_update, touch_atime } from './time.js';

/** A symlink at the end of the path is followed. */
export const LOOKUP_FOLLOW = 0x1;
/** What the path names must be a directory. */
export const LOOKUP_DIRECTORY = 0x2;
/** An empty path names the start. */
export const LOOKUP_EMPTY = 0x4000;
/** RESOLVE_* of openat2(2). */
export const LOOKUP_NO_SYMLINKS = 0x10000;
export const LOOKUP_NO_MAGICLINKS = 0x20000;
export const LOOKUP_NO_XDEV = 0x40000;
export const LOOKUP_BENEATH = 0x80000;
export const LOOKUP_IN_ROOT = 0x100000;
export const LOOKUP_CACHED = 0x200000;
const SCOPED = LOOKUP_BENEATH | LOOKUP_IN_ROOT;

/** Symlinks that one path may lead through (MAXSYMLINKS). */
const MAXSYMLINKS = 40;
const S_IFMT = 0o170000;
const S_IFLNK = 0o120000;

/** Where a process is in the tree of names (struct fs_struct). */
export interface FsStruct {
  root: Dentry;
  cwd: Dentry;
}

/** The last component of a path. */
export interface Last {
  readonly name: string;
  readonly type: 'norm' | 'dot' | 'dotdot' | 'root';
  /** Slashes follow it: it must be a directory. */
  readonly slash: boolean;
}

/** A directory, with a reference, and a name in it. */
export interface ParentPath {
  readonly path: Dentry;
  readonly last: Last;
}

function isLink(dentry: Dentry): boolean {
  return ((dentry.d_inode?.i_mode ?? 0) & S_IFMT) === S_IFLNK;
}

function typeOf(name: string): Last['type'] {
  if (name === '.') return 'dot';
  return name === '..' ? 'dotdot' : 'norm';
}

/** Cut the first component off. @returns it, and what is left without leading slashes */
function split(path: string): { readonly last: Last; readonly rest: string } {
  const at = path.indexOf('/');
  if (at < 0) return { last: { name: path, type: typeOf(path), slash: false }, rest: '' };
  const name = path.slice(0, at);
  return { last: { name, type: typeOf(name), slash: true }, rest: path.slice(at).replace(/^\/+/, '') };
}

const ROOT_ONLY: Last = { name: '', type: 'root', slash: true };

/** The state of one walk (struct nameidata). */
class Walk {
  readonly task: Task;
  readonly fs: FsStruct;
  readonly flags: number;
  /** Where '/' and '..' end: the process's root, or the start of a scoped walk. */
  readonly root: Dentry;
  /** With a reference, but in an RCU walk. */
  path: Dentry;
  links = 0;

  constructor(task: Task, fs: FsStruct, start: Dentry, flags: number) {
    this.task = task;
    this.fs = fs;
    this.flags = flags;
    this.root = (flags & SCOPED) !== 0 ? start : fs.root;
    this.path = start;
  }

  is(flag: number): boolean {
    return (this.flags & flag) !== 0;
  }

  /** @throws EXDEV for an absolute path that must stay beneath its start */
  checkAbsolute(): void {
    if (this.is(LOOKUP_BENEATH)) throw errno('EXDEV');
    if (this.is(LOOKUP_NO_XDEV) && this.root.d_sb !== this.path.d_sb) throw errno('EXDEV');
  }

  /** The directory above, across mounts; the root is above itself (follow_dotdot). No reference. @throws EXDEV */
  above(): Dentry {
    let dentry = this.path;
    for (;;) {
      if (dentry === this.root) {
        if (this.is(LOOKUP_BENEATH)) throw errno('EXDEV');
        return dentry;
      }
      if (!dentry.isRoot) return dentry.d_parent;
      const below = mountpoint_of(dentry);
      if (below === undefined) return dentry;
      if (this.is(LOOKUP_NO_XDEV)) throw errno('EXDEV');
      dentry = below;
    }
  }
}

/* The walk under RCU: nothing in it may wait, and it holds no references. Where it would have to, it throws ECHILD. */

/** What is mounted on a dentry, without a wait (__follow_mount_rcu). @throws ECHILD */
function crossRcu(w: Walk, start: Dentry): Dentry {
  let at = start;
  while ((at.d_flags & DCACHE_MANAGED_DENTRY) !== 0) {
    const dentry = at;
    const { d_manage } = dentry.d_op;
    if ((dentry.d_flags & DCACHE_MANAGE_TRANSIT) !== 0 && d_manage !== undefined) {
      const managed = call(w.task, dentry_rows.d_manage, dentryLocksAndRcu(dentry), () =>
        d_manage(w.task, dentry, true),
      );
      if (managed instanceof Promise) throw errno('ECHILD');
    }
    const mounted = lookup_mnt(dentry);
    if (mounted === undefined) {
      if ((dentry.d_flags & DCACHE_NEED_AUTOMOUNT) !== 0) throw errno('ECHILD');
      return dentry;
    }
    if (w.is(LOOKUP_NO_XDEV)) throw errno('EXDEV');
    at = mounted.mnt_root;
  }
  return at;
}

/** @param follow what is a symlink is followed @throws ECHILD EACCES ENOENT ELOOP */
function stepRcu(w: Walk, last: Last, follow: boolean): void {
  if (last.type === 'dot' || last.type === 'root') return;
  if (last.type === 'dotdot') {
    w.path = w.above();
    return;
  }
  const found = d_lookup(w.task, w.path, last.name, w.path.d_sb.rcu);
  if (found === undefined) throw errno('ECHILD');
  // No reference is kept: nothing goes while the section is open.
  found.d_count--;
  const valid = d_revalidate(w.task, found, LOOKUP_RCU);
  if (valid !== true) throw errno('ECHILD');
  if (found.isNegative) throw errno('ENOENT');
  if (!isLink(found) || !follow) {
    w.path = crossRcu(w, found);
    return;
  }
  const inner = walkRcu(w, linkTargetRcu(w, found));
  stepRcu(w, inner, true);
  if (inner.slash && !isDirectory(w.path)) throw errno('ENOTDIR');
}

/** What a symlink says, if that is in memory and its atime stays (pick_link). @throws ECHILD ELOOP ENOENT */
function linkTargetRcu(w: Walk, link: Dentry): string {
  const { d_inode: inode } = link;
  if (inode === undefined) throw errno('ENOENT');
  if (++w.links > MAXSYMLINKS || w.is(LOOKUP_NO_SYMLINKS)) throw errno('ELOOP');
  if (atime_needs_update(inode)) throw errno('ECHILD');
  const target = inode.i_link ?? vfs_get_link_rcu(w.task, inode);
  if (target === '') throw errno('ENOENT');
  return target;
}

function searchRcu(w: Walk): void {
  const dir = dirOf(w.path);
  const participants = { inode: dir.i_rwsem, walk: dir.i_sb.rcu };
  const allowed = inode_permission(w.task, dir, MAY_EXEC | MAY_NOT_BLOCK, participants);
  if (allowed instanceof Promise) throw errno('ECHILD');
}

/** @returns the last component, w.path being its directory @throws ECHILD where it cannot be done without a wait */
function walkRcu(w: Walk, name: string): Last {
  let rest = name;
  if (rest.startsWith('/')) {
    w.checkAbsolute();
    w.path = w.root;
    rest = rest.replace(/^\/+/, '');
  }
  if (rest === '') return ROOT_ONLY;
  for (;;) {
    searchRcu(w);
    const { last, rest: after } = split(rest);
    if (after === '') return last;
    stepRcu(w, last, true);
    if (!isDirectory(w.path)) throw errno('ENOTDIR');
    rest = after;
  }
}

/** Run a walk under RCU. @returns undefined where it has to be done by reference */
function underRcu<T>(task: Task, start: Dentry, body: () => T): T | undefined {
  using _rcu = start.d_sb.rcu.read(task);
  try {
    return body();
  } catch (error) {
    if (isErrno(error, 'ECHILD')) return undefined;
    throw error;
  }
}

/* The walk by reference. */

async function moveTo(w: Walk, path: Dentry): Promise<void> {
  const { path: old } = w;
  w.path = path;
  await dput(w.task, old);
}

function isDirectory(path: Dentry): boolean {
  const { d_inode: inode } = path;
  return inode !== undefined && isDir(inode);
}

/** Go to a component. @param follow what is a symlink is followed @throws ENOENT ELOOP EACCES ENAMETOOLONG */
async function step(w: Walk, last: Last, follow: boolean): Promise<void> {
  const { task } = w;
  if (last.type === 'dot' || last.type === 'root') return;
  if (last.type === 'dotdot') {
    await moveTo(w, dget(w.above()));
    return;
  }
  const dentry = await lookup_permitted(task, w.path, last.name, 0);
  if (dentry.isNegative) {
    await dput(task, dentry);
    throw errno('ENOENT');
  }
  if (isLink(dentry) && follow) {
    await followLink(w, dentry);
    return;
  }
  const { d_sb: before } = dentry;
  await moveTo(w, await follow_managed(task, dentry));
  if (w.path.d_sb !== before && w.is(LOOKUP_NO_XDEV)) throw errno('EXDEV');
}

/** Go where a symlink in the present directory points to (pick_link). Takes over the reference to it. @throws ELOOP */
async function followLink(w: Walk, link: Dentry): Promise<void> {
  const target = await linkTarget(w, link);
  if (typeof target !== 'string') {
    await moveTo(w, target);
    return;
  }
  const last = await walk(w, target);
  await step(w, last, true);
  if (last.slash && !isDirectory(w.path)) throw errno('ENOTDIR');
}

/** Whether the walk may go on where a magic link leads (nd_jump_link). Gives the reference back where not. @throws ELOOP EXDEV */
async function checkJump(w: Walk, target: Dentry): Promise<void> {
  const elsewhere = w.is(LOOKUP_NO_XDEV) && target.d_sb !== w.path.d_sb;
  if (!w.is(LOOKUP_NO_MAGICLINKS) && !w.is(SCOPED) && !elsewhere) return;
  await dput(w.task, target);
  throw errno(w.is(LOOKUP_NO_MAGICLINKS) ? 'ELOOP' : 'EXDEV');
}

/** What a symlink says, or where a magic one leads; moves its atime. Takes over the reference to it. @throws ELOOP ENOENT */
async function linkTarget(w: Walk, link: Dentry): Promise<string | Dentry> {
  const { task } = w;
  try {
    const { d_inode: inode } = link;
    if (inode === undefined) throw errno('ENOENT');
    if (++w.links > MAXSYMLINKS || w.is(LOOKUP_NO_SYMLINKS)) throw errno('ELOOP');
    await touch_atime(task, inode);
    const target = await vfs_get_link(task, link, inode);
    if (target === '') throw errno('ENOENT');
    if (typeof target !== 'string') await checkJump(w, target);
    return target;
  } finally {
    await dput(task, link);
  }
}

/** @returns the last component, w.path being its directory (link_path_walk) */
async function walk(w: Walk, name: string): Promise<Last> {
  let rest = name;
  if (rest.startsWith('/')) {
    w.checkAbsolute();
    await moveTo(w, dget(w.root));
    rest = rest.replace(/^\/+/, '');
  }
  if (rest === '') return ROOT_ONLY;
  for (;;) {
    const dir = dirOf(w.path);
    await inode_permission(w.task, dir, MAY_EXEC, { inode: dir.i_rwsem });
    const { last, rest: after } = split(rest);
    if (after === '') return last;
    await step(w, last, true);
    if (!isDirectory(w.path)) throw errno('ENOTDIR');
    rest = after;
  }
}

/** Run a walk by reference from `start`, which keeps its own. @returns what `body` makes of it; w.path is the caller's then */
async function byReference<T>(w: Walk, start: Dentry, body: () => Promise<T>): Promise<T> {
  w.path = dget(start);
  w.links = 0;
  try {
    return await body();
  } catch (error) {
    await dput(w.task, w.path);
    throw error;
  }
}

function checkPath(name: string, flags: number): void {
  if (name === '' && (flags & LOOKUP_EMPTY) === 0) throw errno('ENOENT');
  if (name.length >= PATH_MAX) throw errno('ENAMETOOLONG');
  if (name.includes('\0')) throw errno('EINVAL');
}

/** '.', '..' and '/' were not looked up: whether they still hold is asked at the end (complete_walk). @throws ESTALE */
async function weakRevalidate(task: Task, dentry: Dentry, last: Last): Promise<void> {
  const { d_weak_revalidate: op } = dentry.d_op;
  if (op === undefined || last.type === 'norm') return;
  if (!(await call(task, dentry_rows.d_weak_revalidate, dentryLocksAndRcu(dentry), () => op(task, dentry, 0))))
    throw errno('ESTALE');
}

/**
 * What a path names, with a reference (path_lookupat).
 * @param start where a relative path begins
 * @param name bytes in latin1
 * @param flags LOOKUP_*
 * @throws ENOENT ENOTDIR EACCES ELOOP ENAMETOOLONG; EXDEV where the flags confine it; EAGAIN with LOOKUP_CACHED where it had to wait
 */
export async function path_lookup(
  task: Task,
  fs: FsStruct,
  start: Dentry,
  name: string,
  flags: number,
): Promise<Dentry> {
  checkPath(name, flags);
  const w = new Walk(task, fs, start, flags);
  const quick = underRcu(task, start, () => {
    const last = name === '' ? ROOT_ONLY : walkRcu(w, name);
    stepRcu(w, last, w.is(LOOKUP_FOLLOW) || last.slash);
    if (last.type !== 'norm' && w.path.d_op.d_weak_revalidate !== undefined) throw errno('ECHILD');
    return { path: dget(w.path), last };
  });
  if (quick === undefined && (flags & LOOKUP_CACHED) !== 0) throw errno('EAGAIN');
  const { path, last } = quick ?? (await lookupByReference(w, start, name));
  if (((flags & LOOKUP_DIRECTORY) !== 0 || (last.slash && last.type === 'norm')) && !isDirectory(path)) {
    await dput(task, path);
    throw errno('ENOTDIR');
  }
  return path;
}

async function lookupByReference(w: Walk, start: Dentry, name: string): Promise<ParentPath> {
  return byReference(w, start, async () => {
    const last = name === '' ? ROOT_ONLY : await walk(w, name);
    // Slashes after a symlink mean what it points to.
    await step(w, last, w.is(LOOKUP_FOLLOW) || last.slash);
    await weakRevalidate(w.task, w.path, last);
    return { path: w.path, last };
  });
}

/**
 * The directory of what a path names, with a reference, and the name (path_parentat).
 * @throws as path_lookup
 */
export async function path_parent(
  task: Task,
  fs: FsStruct,
  start: Dentry,
  name: string,
  flags: number,
): Promise<ParentPath> {
  checkPath(name, flags & ~LOOKUP_EMPTY);
  const w = new Walk(task, fs, start, flags);
  const quick = underRcu(task, start, () => {
    const last = walkRcu(w, name);
    return { path: dget(w.path), last };
  });
  return quick ?? byReference(w, start, async () => ({ last: await walk(w, name), path: w.path }));
}

/** The target of a symlink that open(2) with O_CREAT has met, whose reference it takes over. @param links met so far @throws ELOOP */
export async function read_link_at(
  task: Task,
  fs: FsStruct,
  start: Dentry,
  link: Dentry,
  flags: number,
  links: number,
): Promise<string | Dentry> {
  const w = new Walk(task, fs, start, flags);
  w.links = links;
  return linkTarget(w, link);
}
