/** Quotas on a planted filesystem: it keeps the file in memory, and its operations are the generic ones but for those that are wrong. */

import {
  dquot_acquire,
  dquot_commit,
  dquot_commit_info,
  dquot_mark_dquot_dirty,
  dquot_release,
} from '../../src/fs/quota/dquot.js';
import { emptyQuotaFile, v2_format_ops } from '../../src/fs/quota/quota-v2.js';
import { dquot_quotactl_ops } from '../../src/fs/quota/quotactl.js';
import { dquot_disable, dquot_load_quota_sb, dquot_quota_enable } from '../../src/fs/quota/switch.js';
import { type dquot_operations, USRQUOTA } from '../../src/fs/quota/types.js';
import { task_end } from '../../src/locking/context.js';
import { Task } from '../../src/sched/task.js';
import { Q_GETQUOTA, Q_SETINFO, Q_SETQUOTA, Q_SYNC } from '../../src/uapi/quota.js';
import { outcome, type Stage } from './harness.js';
import type { Changes } from './plainfs.js';

/** A filesystem with a quota file. */
export function quotaFile(): Changes {
  let file = emptyQuotaFile(USRQUOTA);
  return {
    super: {
      quota_read: (_task, _sb, _type, length, offset) => Buffer.from(file.subarray(offset, offset + length)),
      quota_write: (_task, _sb, _type, bytes, offset) => {
        file = Buffer.concat([file], Math.max(file.length, offset + bytes.length));
        bytes.copy(file, offset);
        return bytes.length;
      },
    },
  };
}

/** Switch quotas on, set a limit, look at it, write all, and switch them off. @param wrong operations that are not generic */
export async function useQuotas({ machine, sb, sys }: Stage, wrong: Partial<dquot_operations>): Promise<void> {
  const switching = async (body: (task: Task) => Promise<unknown>): Promise<void> => {
    const task = new Task(machine.sched, machine.validator, { comm: 'quotaon' });
    await outcome(body(task));
    task_end(task);
  };
  sb.dq_op = {
    write_dquot: dquot_commit,
    acquire_dquot: dquot_acquire,
    release_dquot: dquot_release,
    mark_dirty: dquot_mark_dquot_dirty,
    write_info: dquot_commit_info,
    ...wrong,
  };
  sb.s_qcop = dquot_quotactl_ops;
  await switching(async (task) => {
    using _umount = await sb.s_umount.write(task);
    await dquot_load_quota_sb(task, sb, USRQUOTA, v2_format_ops);
    await dquot_quota_enable(task, sb, USRQUOTA);
  });
  await outcome(sys.quotactl(Q_SETQUOTA, USRQUOTA, sb, 1000, { dqb_bhardlimit: 64 }));
  await outcome(sys.quotactl(Q_GETQUOTA, USRQUOTA, sb, 1000));
  await outcome(sys.quotactl(Q_SETINFO, USRQUOTA, sb, 0, { dqi_bgrace: 3600 }));
  await outcome(sys.quotactl(Q_SYNC, USRQUOTA, sb));
  await switching((task) => dquot_disable(task, sb));
}
