/** write_info does not come to dquot_commit_info: the time of grace is in memory only. */
import type { Planted } from '../harness.js';
import { quotaFile, useQuotas } from '../quota.js';

function write_info(): void {}

export const planted: Planted = {
  bug: 'write_info returns and has written nothing',
  changes: quotaFile(),
  provoke: (stage) => useQuotas(stage, { write_info }),
  reports: [
    {
      kind: 'promise',
      rule: 'dquot_operations.write_info#wraps-the-generic-operation',
      op: 'dquot_operations.write_info',
      held: ['s_umount (read)', 'dqonoff_sem (read)'],
      at: 'write_info',
    },
  ],
};
