/** release_dquot does not come to dquot_release: a quota that nobody uses stays for ever. */
import type { Planted } from '../harness.js';
import { quotaFile, useQuotas } from '../quota.js';

function release_dquot(): void {}

export const planted: Planted = {
  bug: 'release_dquot returns and has released nothing',
  changes: quotaFile(),
  provoke: (stage) => useQuotas(stage, { release_dquot }),
  reports: [
    {
      kind: 'promise',
      rule: 'dquot_operations.release_dquot#wraps-the-generic-operation',
      op: 'dquot_operations.release_dquot',
      held: ['s_umount (read)', 'dqonoff_sem (read)'],
      at: 'release_dquot',
    },
  ],
};
