/** Walking a path by reference: each step may wait, and holds on to where it is. */
import { dentry_operations as dentry_rows } from '../../contract/dentry.js';
import { call } from '../../locking/context.js';
import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { dentryLocksAndRcu, dget, dput } from '../dcache.js';
import type { Dentry } from '../dentry.js';
import { vfs_get_link } from '../namei.js';
import { follow_managed } from '../namespace.js';
import { touch_atime } from '../time.js';
import { dirOf, lookup_permitted } from './lookup.js';
import { inode_permission, MAY_EXEC } from './permission.js';
import {
  isDirectory,
  isLink,
  type Last,
  LOOKUP_NO_MAGICLINKS,
  LOOKUP_NO_XDEV,
  ROOT_ONLY,
  SCOPED,
  split,
  type Walk,
} from './walk.js';

/** Takes over the reference to `path`. */
export async function moveTo(w: Walk, path: Dentry): Promise<void> {
  const { path: old } = w;
  w.path = path;
  await dput(w.task, old);
}

/** Go to a component. @param follow what is a symlink is followed @throws ENOENT ELOOP EACCES ENAMETOOLONG */
export async function step(w: Walk, last: Last, follow: boolean): Promise<void> {
  const { task } = w;
  if (last.type === 'dot' || last.type === 'root') return;
  if (last.type === 'dotdot') {
    await arrive(w, dget(w.above()));
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
  await arrive(w, dentry);
}

/** Go to a name that is no symlink to be followed, and on to what is mounted there (handle_mounts). Takes over the reference. @throws EXDEV */
export async function arrive(w: Walk, dentry: Dentry): Promise<void> {
  const { d_sb: before } = dentry;
  await moveTo(w, await follow_managed(w.task, dentry));
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
export async function linkTarget(w: Walk, link: Dentry): Promise<string | Dentry> {
  const { task } = w;
  try {
    const { d_inode: inode } = link;
    if (inode === undefined) throw errno('ENOENT');
    w.countLink();
    await touch_atime(task, inode);
    const target = await vfs_get_link(task, link, inode);
    if (target === '') throw errno('ENOENT');
    if (typeof target !== 'string') await checkJump(w, target);
    return target;
  } finally {
    await dput(task, link);
  }
}

/** @returns the last component, w.path being its directory (link_path_walk) @throws EACCES ENOENT ENOTDIR ELOOP ENAMETOOLONG */
export async function walk(w: Walk, name: string): Promise<Last> {
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

/** '.', '..' and '/' were not looked up: whether they still hold is asked at the end (complete_walk). @throws ESTALE */
export async function weakRevalidate(task: Task, dentry: Dentry, last: Last): Promise<void> {
  const { d_weak_revalidate: op } = dentry.d_op;
  if (op === undefined || last.type === 'norm') return;
  if (!(await call(task, dentry_rows.d_weak_revalidate, dentryLocksAndRcu(dentry), () => op(task, dentry, 0))))
    throw errno('ESTALE');
}
