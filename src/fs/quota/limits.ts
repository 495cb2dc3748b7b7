/** What is allowed: hard limits, soft limits and their grace times. All of it with dq_data_lock held. */
import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { DQ_FAKE, type Dquot, sb_has_quota_limits_enabled } from './types.js';

/** How a charge is made. */
export interface ChargeFlags {
  /** It has happened, or must: no limit keeps it from being counted. */
  readonly nofail?: boolean;
}

/** CAP_SYS_RESOURCE stands above limits (ignore_hardlimit). */
function ignoresLimits(task: Task): boolean {
  return !task.anonymous && task.cred.capable('CAP_SYS_RESOURCE');
}

/** Whether limits count for this quota. */
function limited(dquot: Dquot): boolean {
  if (!sb_has_quota_limits_enabled(dquot.dq_sb, dquot.dq_type)) return false;
  return (dquot.dq_flags & DQ_FAKE) === 0;
}

/** A limit of 0 is none. */
function above(value: number, limit: number): boolean {
  return limit > 0 && value > limit;
}

/** What of a quota is limited: its limits, when its grace ends, and how long that is. */
interface Kind {
  readonly hard: 'dqb_bhardlimit' | 'dqb_ihardlimit';
  readonly soft: 'dqb_bsoftlimit' | 'dqb_isoftlimit';
  readonly time: 'dqb_btime' | 'dqb_itime';
  readonly grace: 'dqi_bgrace' | 'dqi_igrace';
}

const SPACE: Kind = { hard: 'dqb_bhardlimit', soft: 'dqb_bsoftlimit', time: 'dqb_btime', grace: 'dqi_bgrace' };
const INODES: Kind = { hard: 'dqb_ihardlimit', soft: 'dqb_isoftlimit', time: 'dqb_itime', grace: 'dqi_igrace' };

/** Whether a quota may have `total` of something; where that is above the soft limit for the first time, the grace begins. */
function allowed(task: Task, dquot: Dquot, total: number, kind: Kind): boolean {
  if (!limited(dquot)) return true;
  const { dq_dqb: dqb } = dquot;
  const exempt = ignoresLimits(task);
  if (above(total, dqb[kind.hard]) && !exempt) return false;
  if (!above(total, dqb[kind.soft])) return true;
  const now = task.sched.realtime().sec;
  if (dqb[kind.time] > 0 && now >= dqb[kind.time] && !exempt) return false;
  const { info } = dquot.dq_sb.s_dquot.loaded[dquot.dq_type] ?? {};
  if (dqb[kind.time] === 0 && info !== undefined) dqb[kind.time] = now + info[kind.grace];
  return true;
}

/**
 * Count bytes for a quota (dquot_add_space). @param space in use @param reserved promised
 * @throws EDQUOT unless `flags.nofail`: then nothing is counted
 */
export function dquot_add_space(task: Task, dquot: Dquot, space: number, reserved: number, flags: ChargeFlags): void {
  const { dq_dqb: dqb } = dquot;
  const total = dqb.dqb_curspace + dqb.dqb_rsvspace + space + reserved;
  if (!allowed(task, dquot, total, SPACE) && flags.nofail !== true) throw errno('EDQUOT');
  dqb.dqb_curspace += space;
  dqb.dqb_rsvspace += reserved;
}

/** Count inodes for a quota (dquot_add_inodes). @throws EDQUOT: then nothing is counted */
export function dquot_add_inodes(task: Task, dquot: Dquot, inodes: number): void {
  const total = dquot.dq_dqb.dqb_curinodes + inodes;
  if (!allowed(task, dquot, total, INODES)) throw errno('EDQUOT');
  dquot.dq_dqb.dqb_curinodes = total;
}

/** Less is in use (dquot_decr_space): below the soft limit the grace begins anew. */
export function dquot_decr_space(dquot: Dquot, space: number, reserved: number): void {
  const { dq_dqb: dqb } = dquot;
  dqb.dqb_curspace = Math.max(0, dqb.dqb_curspace - space);
  dqb.dqb_rsvspace = Math.max(0, dqb.dqb_rsvspace - reserved);
  if (dqb.dqb_curspace + dqb.dqb_rsvspace <= dqb.dqb_bsoftlimit) dqb.dqb_btime = 0;
}

/** Fewer inodes are in use (dquot_decr_inodes). */
export function dquot_decr_inodes(dquot: Dquot, inodes: number): void {
  const { dq_dqb: dqb } = dquot;
  dqb.dqb_curinodes = Math.max(0, dqb.dqb_curinodes - inodes);
  if (dqb.dqb_curinodes <= dqb.dqb_isoftlimit) dqb.dqb_itime = 0;
}
