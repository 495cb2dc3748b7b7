/** What quotactl(2) reads and sets, for filesystems that leave it to the generic quotas (dquot_quotactl_sysfile_ops). */
import { GUARDED, guard_write } from '../../locking/guarded.js';
import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import type { SuperBlock } from '../super-block.js';
import { dqget, dqput, dquots_changed, loadedQuota } from './dquot.js';
import { dquot_quota_disable, dquot_quota_enable, dquot_writeback_dquots, write_info } from './switch.js';
import {
  DQ_FAKE,
  type Dquot,
  type IfDqblk,
  type IfDqinfo,
  type MemDqinfo,
  QUOTABLOCK_SIZE,
  type QuotaType,
  type quotactl_ops,
} from './types.js';

/** A quota as users see it (do_get_dqblk). What is promised counts as used. */
function show(dquot: Dquot): IfDqblk {
  const { dq_dqb: dqb } = dquot;
  const blocks = (bytes: number): number => Math.ceil(bytes / QUOTABLOCK_SIZE);
  return {
    dqb_bhardlimit: blocks(dqb.dqb_bhardlimit),
    dqb_bsoftlimit: blocks(dqb.dqb_bsoftlimit),
    dqb_curspace: dqb.dqb_curspace + dqb.dqb_rsvspace,
    dqb_ihardlimit: dqb.dqb_ihardlimit,
    dqb_isoftlimit: dqb.dqb_isoftlimit,
    dqb_curinodes: dqb.dqb_curinodes,
    dqb_btime: dqb.dqb_btime,
    dqb_itime: dqb.dqb_itime,
  };
}

/** Takes dqonoff_sem shared. @throws ESRCH EIO */
async function get_dqblk(task: Task, sb: SuperBlock, type: QuotaType, id: number): Promise<IfDqblk> {
  const { dqonoff_sem } = sb.s_dquot;
  using _on = await dqonoff_sem.read(task);
  const dquot = await dqget(task, sb, type, id, dqonoff_sem);
  try {
    return show(dquot);
  } finally {
    dqput(dquot);
  }
}

/** Takes dqonoff_sem shared. @throws ENOENT where there is none any more; ESRCH EIO */
async function get_nextdqblk(
  task: Task,
  sb: SuperBlock,
  type: QuotaType,
  id: number,
): Promise<IfDqblk & { readonly dqb_id: number }> {
  let next: number;
  {
    using _on = await sb.s_dquot.dqonoff_sem.read(task);
    const { format, info } = loadedQuota(sb, type);
    next = await format.get_next_id(task, sb, type, id, info);
  }
  return { ...(await get_dqblk(task, sb, type, next)), dqb_id: next };
}

/** @throws ERANGE where a limit is none that could be kept; EINVAL */
function check(dqblk: Partial<IfDqblk>, info: MemDqinfo): void {
  const space = info.dqi_max_spc_limit / QUOTABLOCK_SIZE;
  const checked: readonly (readonly [number | undefined, number])[] = [
    [dqblk.dqb_bhardlimit, space],
    [dqblk.dqb_bsoftlimit, space],
    [dqblk.dqb_ihardlimit, info.dqi_max_ino_limit],
    [dqblk.dqb_isoftlimit, info.dqi_max_ino_limit],
  ];
  if (checked.some(([limit, most]) => limit !== undefined && limit > most)) throw errno('ERANGE');
  const { dqb_bhardlimit, dqb_bsoftlimit, dqb_ihardlimit, dqb_isoftlimit, dqb_curspace, dqb_curinodes } = dqblk;
  const limits = [dqb_bhardlimit, dqb_bsoftlimit, dqb_ihardlimit, dqb_isoftlimit];
  const numbers = [...limits, dqb_curspace, dqb_curinodes, dqblk.dqb_btime, dqblk.dqb_itime].filter(
    (n) => n !== undefined,
  );
  if (numbers.some((value) => !Number.isSafeInteger(value) || value < 0)) throw errno('EINVAL');
}

function isGiven(...values: readonly (number | undefined)[]): boolean {
  return values.some((value) => value !== undefined);
}

/** Set what is given (do_set_dqblk). With dq_data_lock held. */
function apply(dquot: Dquot, given: Partial<IfDqblk>, info: MemDqinfo, now: number): void {
  const { dq_dqb: dqb } = dquot;
  if (given.dqb_curspace !== undefined) dqb.dqb_curspace = Math.max(0, given.dqb_curspace - dqb.dqb_rsvspace);
  if (given.dqb_curinodes !== undefined) dqb.dqb_curinodes = given.dqb_curinodes;
  if (given.dqb_bhardlimit !== undefined) dqb.dqb_bhardlimit = given.dqb_bhardlimit * QUOTABLOCK_SIZE;
  if (given.dqb_bsoftlimit !== undefined) dqb.dqb_bsoftlimit = given.dqb_bsoftlimit * QUOTABLOCK_SIZE;
  if (given.dqb_ihardlimit !== undefined) dqb.dqb_ihardlimit = given.dqb_ihardlimit;
  if (given.dqb_isoftlimit !== undefined) dqb.dqb_isoftlimit = given.dqb_isoftlimit;
  if (given.dqb_btime !== undefined) dqb.dqb_btime = given.dqb_btime;
  if (given.dqb_itime !== undefined) dqb.dqb_itime = given.dqb_itime;
  // What is above its soft limit now has the whole grace from now on, unless that was given.
  const space = dqb.dqb_curspace + dqb.dqb_rsvspace;
  const aboveSpace = dqb.dqb_bsoftlimit > 0 && space > dqb.dqb_bsoftlimit;
  const ofSpace = isGiven(given.dqb_bhardlimit, given.dqb_bsoftlimit, given.dqb_curspace);
  if (aboveSpace && ofSpace && given.dqb_btime === undefined) dqb.dqb_btime = now + info.dqi_bgrace;
  if (!aboveSpace) dqb.dqb_btime = 0;
  const aboveInodes = dqb.dqb_isoftlimit > 0 && dqb.dqb_curinodes > dqb.dqb_isoftlimit;
  const ofInodes = isGiven(given.dqb_ihardlimit, given.dqb_isoftlimit, given.dqb_curinodes);
  if (aboveInodes && ofInodes && given.dqb_itime === undefined) dqb.dqb_itime = now + info.dqi_igrace;
  if (!aboveInodes) dqb.dqb_itime = 0;
  const limits = [dqb.dqb_bhardlimit, dqb.dqb_bsoftlimit, dqb.dqb_ihardlimit, dqb.dqb_isoftlimit];
  if (limits.some((limit) => limit > 0)) dquot.dq_flags &= ~DQ_FAKE;
  else dquot.dq_flags |= DQ_FAKE;
}

/** Takes dqonoff_sem shared. @throws ERANGE EINVAL ESRCH EIO */
async function set_dqblk(
  task: Task,
  sb: SuperBlock,
  type: QuotaType,
  id: number,
  given: Partial<IfDqblk>,
): Promise<void> {
  const { dqonoff_sem, dq_data_lock } = sb.s_dquot;
  using _on = await dqonoff_sem.read(task);
  const { info } = loadedQuota(sb, type);
  check(given, info);
  const dquot = await dqget(task, sb, type, id, dqonoff_sem);
  try {
    {
      using _data = dq_data_lock.lock(task);
      guard_write(task, GUARDED.dquot, dq_data_lock);
      apply(dquot, given, info, task.sched.realtime().sec);
    }
    await dquots_changed(task, sb, [dquot], dqonoff_sem);
  } finally {
    dqput(dquot);
  }
}

async function get_info(task: Task, sb: SuperBlock, type: QuotaType): Promise<IfDqinfo> {
  using _on = await sb.s_dquot.dqonoff_sem.read(task);
  const { dqi_bgrace, dqi_igrace, dqi_flags } = loadedQuota(sb, type).info;
  return { dqi_bgrace, dqi_igrace, dqi_flags };
}

/** Set grace times (dquot_set_dqinfo), for those who go over a soft limit from now on. Takes dqonoff_sem shared. @throws EINVAL ESRCH EIO */
async function set_info(task: Task, sb: SuperBlock, type: QuotaType, given: Partial<IfDqinfo>): Promise<void> {
  using _on = await sb.s_dquot.dqonoff_sem.read(task);
  const { info } = loadedQuota(sb, type);
  const times = [given.dqi_bgrace, given.dqi_igrace].filter((time) => time !== undefined);
  if (times.some((time) => !Number.isInteger(time) || time < 0 || time > 0xffffffff)) throw errno('EINVAL');
  if ((given.dqi_flags ?? 0) !== 0) throw errno('EINVAL');
  if (given.dqi_bgrace !== undefined) info.dqi_bgrace = given.dqi_bgrace;
  if (given.dqi_igrace !== undefined) info.dqi_igrace = given.dqi_igrace;
  info.dirty = true;
  await write_info(task, sb, type);
}

export const dquot_quotactl_ops: quotactl_ops = {
  quota_enable: dquot_quota_enable,
  quota_disable: dquot_quota_disable,
  quota_sync: dquot_writeback_dquots,
  get_info,
  set_info,
  get_dqblk,
  get_nextdqblk,
  set_dqblk,
};
