/** mark_dirty does not come to dquot_mark_dquot_dirty: a new limit is never written. */
import type { Planted } from '../harness.js';
import { quotaFile, useQuotas } from '../quota.js';

function mark_dirty(): void {}

export const planted: Planted = {
  bug: 'mark_dirty returns and has marked nothing',
  changes: quotaFile(),
  provoke: (stage) => useQuotas(stage, { mark_dirty }),
  reports: [
    {
      kind: 'promise',
      rule: 'dquot_operations.mark_dirty#wraps-the-generic-operation',
      op: 'dquot_operations.mark_dirty',
      held: ['s_umount (read)', 'dqonoff_sem (read)'],
      at: 'mark_dirty',
    },
  ],
};
