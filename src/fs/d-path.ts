/** The path of a dentry, as /proc and getcwd show it (fs/d_path.c). */
import { dentry_operations } from '../contract/dentry.js';
import { call } from '../locking/context.js';
import type { Task } from '../sched/task.js';
import { dentryLocks } from './dcache.js';
import { DCACHE_UNHASHED, type Dentry } from './dentry.js';
import { mountpoint_of } from './namespace.js';

/**
 * The path from `root`, across mounts (d_path). What has none is named by ->d_dname: 'pipe:[7]'. A removed name has ' (deleted)' behind it.
 */
export function d_path(task: Task, start: Dentry, root: Dentry): string {
  const { d_dname } = start.d_op;
  if (d_dname !== undefined && start.isRoot && start.d_name === '') {
    const participants = { ...dentryLocks(start), walk: start.d_sb.rcu };
    return call(task, dentry_operations.d_dname, participants, () => d_dname(task, start));
  }
  const names: string[] = [];
  for (let at = start; at !== root; ) {
    if (!at.isRoot) {
      names.push(at.d_name);
      at = at.d_parent;
      continue;
    }
    const below = mountpoint_of(at);
    if (below === undefined) break;
    at = below;
  }
  const gone = (start.d_flags & DCACHE_UNHASHED) !== 0 && !start.isRoot;
  return `/${names.reverse().join('/')}${gone ? ' (deleted)' : ''}`;
}
