/** d_prune was made async, to tell a server of the name that goes; it is called under d_lock, and nobody waits for it. */

import { errno } from '../../../src/sched/errno.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import { outcome, type Planted } from '../harness.js';

async function d_prune(): Promise<void> {
  await Promise.resolve();
  throw errno('EIO');
}

export const planted: Planted = {
  bug: 'd_prune answers with a promise, which fails',
  changes: { dentry: { d_prune } },
  provoke: async ({ sys }) => {
    await sys.close(await sys.open('/f', O_CREAT | O_RDWR, 0o644));
    await sys.mkdir('/d', 0o755);
    await outcome(sys.stat('/d/none'));
    await sys.rmdir('/d');
  },
  reports: [
    {
      kind: 'sleep-in-atomic',
      rule: 'dentry_operations.d_prune#may-not-block',
      op: 'dentry_operations.d_prune',
      held: ['s_writers (read)', 'i_rwsem (write)', 'i_rwsem (write)', 'd_lock (write)'],
      at: 'd_prune',
    },
  ],
};
