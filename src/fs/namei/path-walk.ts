/**
 * Walking a path to what it names (fs/namei.c path_lookupat and its relatives): at first without references under RCU (walk-rcu.ts), and where that does not do, by
 * reference (walk-ref.ts).
 */

import type { Awaitable } from '../../sched/awaitable.js';
import { errno, isErrno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { PATH_MAX } from '../../uapi/limits.js';
import { dget, dput } from '../dcache.js';
import { Dentry } from '../dentry.js';
import {
  type FsStruct,
  isDirectory,
  isLink,
  type Last,
  LOOKUP_CACHED,
  LOOKUP_DIRECTORY,
  LOOKUP_EMPTY,
  LOOKUP_FOLLOW,
  type ParentPath,
  ROOT_ONLY,
  Walk,
} from './walk.js';
import { stepRcu, underRcu, walkRcu } from './walk-rcu.js';
import { arrive, linkTarget, moveTo, step, walk, weakRevalidate } from './walk-ref.js';

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
    stepLastRcu(w, last);
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

/** The last step under RCU. Slashes after a symlink mean what it points to. @throws ECHILD */
function stepLastRcu(w: Walk, last: Last): void {
  stepRcu(w, last, w.is(LOOKUP_FOLLOW) || last.slash);
  if (last.type !== 'norm' && w.path.d_op.d_weak_revalidate !== undefined) throw errno('ECHILD');
}

async function lookupByReference(w: Walk, start: Dentry, name: string): Promise<ParentPath> {
  return byReference(w, start, async () => {
    const last = name === '' ? ROOT_ONLY : await walk(w, name);
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

/** What is done with the last name of a path that is opened. */
export interface LastStep<T> {
  /** Whether a name may be made there: then it is not looked up before. */
  readonly creates: boolean;
  /** Open a name in a directory, or find what is there to be opened. @returns what was opened; or the dentry, with a reference, which may be negative */
  look(parent: Dentry, last: Last): Awaitable<T | Dentry>;
  /** Open what the walk has come to. */
  open(path: Dentry): Awaitable<T>;
}

/**
 * Walk a path to its last name and open that; where a symlink stands there, go on from there (path_openat).
 * @param start where a relative path begins
 * @param name bytes in latin1
 * @param flags LOOKUP_*
 * @throws as path_lookup; what `op` throws
 */
export async function path_open<T>(
  task: Task,
  fs: FsStruct,
  start: Dentry,
  name: string,
  flags: number,
  op: LastStep<T>,
): Promise<T> {
  checkPath(name, flags & ~LOOKUP_EMPTY);
  const w = new Walk(task, fs, start, flags);
  const quick = underRcu(task, start, () => walkToOpen(w, name, op.creates));
  if ((quick === undefined || !quick.there) && (flags & LOOKUP_CACHED) !== 0) {
    if (quick !== undefined) await dput(task, quick.path);
    throw errno('EAGAIN');
  }
  w.path = quick?.path ?? dget(start);
  try {
    if (quick === undefined) w.links = 0;
    const last = quick?.last ?? (await walk(w, name));
    return quick?.there === true ? await openAt(w, last.slash, op) : await openLast(w, last, op);
  } finally {
    await dput(task, w.path);
  }
}

/**
 * Walk under RCU to what is to be opened, or if that would have to wait at the last name to its directory.
 * @returns where it is, with a reference; `there`: that is what the path names @throws ECHILD
 */
function walkToOpen(w: Walk, name: string, creates: boolean): ParentPath & { readonly there: boolean } {
  const last = walkRcu(w, name);
  const { path: parent, links } = w;
  if (!creates) {
    try {
      stepLastRcu(w, last);
      return { path: dget(w.path), last, there: true };
    } catch (error) {
      if (!isErrno(error, 'ECHILD')) throw error;
      w.links = links;
    }
  }
  return { path: dget(parent), last, there: false };
}

/** From the directory of the last name on. */
async function openLast<T>(w: Walk, first: Last, op: LastStep<T>): Promise<T> {
  const { task } = w;
  let last = first;
  let slash = false;
  for (;;) {
    slash ||= last.slash;
    if (last.type !== 'norm') {
      await step(w, last, false);
      await weakRevalidate(task, w.path, last);
      return await openAt(w, slash, op);
    }
    const found = await op.look(w.path, last);
    if (!(found instanceof Dentry)) return found;
    if (!isLink(found) || !(w.is(LOOKUP_FOLLOW) || slash)) {
      await arrive(w, found);
      return await openAt(w, slash, op);
    }
    const target = await linkTarget(w, found);
    if (typeof target !== 'string') {
      await moveTo(w, target);
      return await openAt(w, slash, op);
    }
    last = await walk(w, target);
  }
}

/** @param slash slashes followed the name @throws ENOTDIR then, for what is no directory */
function openAt<T>(w: Walk, slash: boolean, op: LastStep<T>): Awaitable<T> {
  const { path } = w;
  if (slash && !path.isNegative && !isDirectory(path)) throw errno('ENOTDIR');
  return op.open(path);
}
