/** write_dquot commits twice and marks it dirty again, mark_dirty waits first. */
import { dquot_commit, dquot_mark_dquot_dirty } from '../../../src/fs/quota/dquot.js';
import type { Unusual } from '../harness.js';
import { quotaFile, useQuotas } from '../quota.js';

let written = 0;

export const unusual: Unusual = {
  what: 'quotas are written twice, and marked after a wait',
  changes: quotaFile(),
  use: async (stage) => {
    await useQuotas(stage, {
      write_dquot: async (task, dquot) => {
        await dquot_commit(task, dquot);
        await dquot_commit(task, dquot);
        if (++written === 1) dquot_mark_dquot_dirty(task, dquot);
      },
      mark_dirty: async (task, dquot) => {
        await task.sched.yield();
        dquot_mark_dquot_dirty(task, dquot);
      },
    });
    return written > 1;
  },
};
