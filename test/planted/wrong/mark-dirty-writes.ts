/** mark_dirty writes the quota to its file at once: it comes back into the filesystem, which its callers do not expect. */
import { dquot_commit, dquot_mark_dquot_dirty } from '../../../src/fs/quota/dquot.js';
import type { Dquot } from '../../../src/fs/quota/types.js';
import type { Task } from '../../../src/sched/task.js';
import type { Planted } from '../harness.js';
import { quotaFile, useQuotas } from '../quota.js';

async function mark_dirty(task: Task, dquot: Dquot): Promise<void> {
  dquot_mark_dquot_dirty(task, dquot);
  await dquot_commit(task, dquot);
}

export const planted: Planted = {
  bug: 'mark_dirty recurses',
  changes: quotaFile(),
  provoke: (stage) => useQuotas(stage, { mark_dirty }),
  reports: [
    {
      kind: 'promise',
      rule: 'dquot_operations.mark_dirty#does-not-recurse',
      op: 'dquot_operations.mark_dirty',
      held: ['s_umount (read)', 'dqonoff_sem (read)', 'dq_lock (write)', 'dqio_sem (write)'],
      at: 'mark_dirty',
    },
  ],
};
