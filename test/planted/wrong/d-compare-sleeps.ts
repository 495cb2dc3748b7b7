/** d_compare takes a mutex for its table of case folding where names differ; names are compared in rcu-walk. */

import type { Dentry } from '../../../src/fs/dentry.js';
import type { Held } from '../../../src/locking/held.js';
import { Mutex } from '../../../src/locking/mutex.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';

const table = new Mutex('alloc_lock');

function d_compare(task: Task, _dentry: Dentry, candidate: string, name: string): boolean {
  if (candidate === name) return true;
  const held = table.lock(task) as Held<'alloc_lock', 'write'>;
  const same = candidate.toLowerCase() === name.toLowerCase();
  held.release();
  return same;
}

export const planted: Planted = {
  bug: 'd_compare takes a mutex',
  changes: { dentry: { d_hash: (_task, _dentry, name) => name.toLowerCase(), d_compare } },
  provoke: async ({ sys }) => {
    await sys.close(await sys.open('/f', O_CREAT | O_RDWR, 0o644));
    await sys.stat('/F');
  },
  reports: [
    {
      kind: 'sleep-in-atomic',
      rule: 'dentry_operations.d_compare#may-not-block',
      op: 'dentry_operations.d_compare',
      held: ['rcu (read)', 'rename_lock (read)'],
      at: 'd_compare',
    },
  ],
};
