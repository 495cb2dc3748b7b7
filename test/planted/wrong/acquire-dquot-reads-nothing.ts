/** acquire_dquot does not come to dquot_acquire: whoever gets the quota finds no limits in it. */
import type { Planted } from '../harness.js';
import { quotaFile, useQuotas } from '../quota.js';

function acquire_dquot(): void {}

export const planted: Planted = {
  bug: 'acquire_dquot returns and has read nothing',
  changes: quotaFile(),
  provoke: (stage) => useQuotas(stage, { acquire_dquot }),
  reports: [
    {
      kind: 'promise',
      rule: 'dquot_operations.acquire_dquot#wraps-the-generic-operation',
      op: 'dquot_operations.acquire_dquot',
      held: ['s_umount (read)', 'dqonoff_sem (read)'],
      at: 'acquire_dquot',
    },
  ],
};
