/** Walking a path under RCU: nothing here may wait, and no references are held. Where it would have to, it throws ECHILD, and the walk is done by reference. */
import { dentry_operations as dentry_rows } from '../../contract/dentry.js';
import { call } from '../../locking/context.js';
import { errno, isErrno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { d_lookup, dentryLocksAndRcu } from '../dcache.js';
import { DCACHE_MANAGE_TRANSIT, DCACHE_MANAGED_DENTRY, DCACHE_NEED_AUTOMOUNT, type Dentry } from '../dentry.js';
import { vfs_get_link_rcu } from '../namei.js';
import { lookup_mnt } from '../namespace.js';
import { atime_needs_update } from '../time.js';
import { d_revalidate, dirOf, LOOKUP_RCU } from './lookup.js';
import { inode_permission, MAY_EXEC, MAY_NOT_BLOCK } from './permission.js';
import { isDirectory, isLink, type Last, LOOKUP_NO_XDEV, ROOT_ONLY, split, type Walk } from './walk.js';

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

/** @param follow what is a symlink is followed @throws ECHILD EACCES ENOENT ENOTDIR ELOOP */
export function stepRcu(w: Walk, last: Last, follow: boolean): void {
  if (last.type === 'dot' || last.type === 'root') return;
  if (last.type === 'dotdot') {
    w.path = crossRcu(w, w.above());
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
  w.countLink();
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

/** @returns the last component, w.path being its directory @throws ECHILD where it cannot be done without a wait; as stepRcu */
export function walkRcu(w: Walk, name: string): Last {
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
export function underRcu<T>(task: Task, start: Dentry, body: () => T): T | undefined {
  using _rcu = start.d_sb.rcu.read(task);
  try {
    return body();
  } catch (error) {
    if (isErrno(error, 'ECHILD')) return undefined;
    throw error;
  }
}
