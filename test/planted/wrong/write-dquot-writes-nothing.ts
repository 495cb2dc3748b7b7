/** write_dquot does not come to dquot_commit: the usage of a user is in memory only. */
import type { Planted } from '../harness.js';
import { quotaFile, useQuotas } from '../quota.js';

function write_dquot(): void {}

export const planted: Planted = {
  bug: 'write_dquot returns and has written nothing',
  changes: quotaFile(),
  provoke: (stage) => useQuotas(stage, { write_dquot }),
  reports: [
    {
      kind: 'promise',
      rule: 'dquot_operations.write_dquot#wraps-the-generic-operation',
      op: 'dquot_operations.write_dquot',
      held: ['s_umount (read)', 'dqonoff_sem (read)'],
      at: 'write_dquot',
    },
  ],
};
