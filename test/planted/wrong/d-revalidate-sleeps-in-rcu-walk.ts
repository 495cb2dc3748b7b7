/** d_revalidate asks its server whether a name still holds, also in rcu-walk, where it should answer ECHILD. */

import type { Dentry } from '../../../src/fs/dentry.js';
import type { Task } from '../../../src/sched/task.js';
import { might_sleep } from '../../../src/sched/wait.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';

function d_revalidate(task: Task, _dentry: Dentry, _flags: number): boolean {
  might_sleep(task, 'an answer of the server');
  return true;
}

export const planted: Planted = {
  bug: 'd_revalidate waits in rcu-walk',
  changes: { dentry: { d_revalidate } },
  provoke: async ({ sys }) => {
    await sys.close(await sys.open('/f', O_CREAT | O_RDWR, 0o644));
    await sys.stat('/f');
  },
  reports: [
    {
      kind: 'sleep-in-atomic',
      rule: 'dentry_operations.d_revalidate#may-not-block',
      op: 'dentry_operations.d_revalidate',
      held: ['rcu (read)'],
      at: 'd_revalidate',
    },
  ],
};
