/** The path of a dentry, as /proc and getcwd show it (fs/d_path.c). */
import { dentry_operations } from '../contract/dentry.js';
import { call } from '../locking/context.js';
import { GUARDED, guard_read } from '../locking/guarded.js';
import type { Task } from '../sched/task.js';
import { dentryLocksAndRcu } from './dcache.js';
import { DCACHE_UNHASHED, type Dentry } from './dentry.js';
import { mountpoint_of } from './namespace.js';

/**
 * The path from `root`, across mounts (d_path). What has none is named by ->d_dname: 'pipe:[7]'. A removed name has ' (deleted)' behind it.
 */
export function d_path(task: Task, start: Dentry, root: Dentry): string {
  const { d_dname } = start.d_op;
  // Where it is mounted, its root has the path of the place.
  if (d_dname !== undefined && start !== start.d_sb.s_root) {
    return call(task, dentry_operations.d_dname, dentryLocksAndRcu(start), () => d_dname(task, start));
  }
  const names: string[] = [];
  for (let at: Dentry | undefined = start; at !== undefined && at !== root; ) {
    const top = prepend_path(task, at, root, names);
    if (top === root) break;
    at = mountpoint_of(top);
  }
  const gone = (start.d_flags & DCACHE_UNHASHED) !== 0 && !start.isRoot;
  return `/${names.reverse().join('/')}${gone ? ' (deleted)' : ''}`;
}

/** Add the names up to `root` or the root of the filesystem, all as they were at one moment (prepend_path). @returns where it ended */
function prepend_path(task: Task, start: Dentry, root: Dentry, names: string[]): Dentry {
  const { rename_lock } = start.d_sb;
  const before = names.length;
  return rename_lock.read(task, () => {
    guard_read(task, GUARDED.d_name, rename_lock);
    names.length = before;
    let at = start;
    for (; at !== root && !at.isRoot; at = at.d_parent) names.push(at.d_name);
    return at;
  });
}
