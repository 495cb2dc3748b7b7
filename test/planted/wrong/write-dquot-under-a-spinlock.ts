/** write_dquot holds dq_data_lock while the generic operation waits for its mutexes and for the file. */
import { dquot_commit } from '../../../src/fs/quota/dquot.js';
import type { Dquot } from '../../../src/fs/quota/types.js';
import type { Task } from '../../../src/sched/task.js';
import { might_sleep } from '../../../src/sched/wait.js';
import type { Planted } from '../harness.js';
import { quotaFile, useQuotas } from '../quota.js';

async function write_dquot(task: Task, dquot: Dquot): Promise<void> {
  {
    using _lock = dquot.dq_sb.s_dquot.dq_data_lock.lock(task);
    might_sleep(task, 'for the file');
  }
  await dquot_commit(task, dquot);
}

export const planted: Planted = {
  bug: 'write_dquot waits under dq_data_lock',
  changes: quotaFile(),
  provoke: (stage) => useQuotas(stage, { write_dquot }),
  reports: [
    {
      kind: 'sleep-in-atomic',
      rule: 'spinlock#holder-may-not-sleep',
      op: 'dquot_operations.write_dquot',
      held: ['s_umount (read)', 'dqonoff_sem (read)', 'dq_data_lock (write)'],
      at: 'write_dquot',
    },
  ],
};
