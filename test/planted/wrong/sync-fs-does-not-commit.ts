/** The filesystem has a log, whose youngest transaction sync_fs neither commits nor waits for. */
import type { SuperBlock } from '../../../src/fs/super-block.js';
import type { Task } from '../../../src/sched/task.js';
import type { Planted } from '../harness.js';

function sync_fs(_task: Task, _sb: SuperBlock, _wait: boolean): void {}

export const planted: Planted = {
  bug: 'sync_fs returns zero and has committed nothing',
  changes: { super: { sync_fs } },
  provoke: async ({ sys, sb }) => {
    const log = { tid: 8, commitSequence: 7, tid_of: () => 7 };
    sb.s_log = log;
    await sys.mkdir('/d', 0o755);
    await sys.sync();
    log.commitSequence = 8;
  },
  reports: [
    {
      kind: 'promise',
      rule: 'sync#commits-what-was-changed',
      op: 'super_operations.sync_fs',
      held: ['s_umount (read)'],
      at: 'sync_fs',
    },
  ],
};
