/** quotactl(2) (fs/quota/quota.c). */

import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import {
  Q_GETFMT,
  Q_GETINFO,
  Q_GETNEXTQUOTA,
  Q_GETQUOTA,
  Q_QUOTAOFF,
  Q_QUOTAON,
  Q_SETINFO,
  Q_SETQUOTA,
  Q_SYNC,
} from '../../uapi/quota.js';
import { in_group_p } from '../namei/permission.js';
import {
  GRPQUOTA,
  type IfDqblk,
  type IfDqinfo,
  QUOTA_TYPES,
  type QuotaType,
  type quotactl_ops,
  sb_has_quota_active,
  USRQUOTA,
} from '../quota/types.js';
import type { SuperBlock } from '../super-block.js';
import { sb_end_write, sb_start_write } from '../super-freeze.js';
import { SB_UNFROZEN } from '../super-writers.js';
import type { Process } from './process.js';

/** What is passed to a command and comes back from it, by the names of struct if_dqblk and if_dqinfo; what is left out is not set. */
export type QuotaArgument = Partial<IfDqblk & IfDqinfo & { dqb_id: number; dqi_format: number }>;

/** Everybody may look at what is common to all, and at quotas of their own (check_quotactl_permission). @throws EPERM */
function check_quotactl_permission(task: Task, cmd: number, type: QuotaType, id: number): void {
  if (cmd === Q_GETFMT || cmd === Q_SYNC || cmd === Q_GETINFO) return;
  // Of projects nobody is a member.
  const own = type === USRQUOTA ? task.cred.uid === id : type === GRPQUOTA && in_group_p(task.cred, id);
  if (cmd === Q_GETQUOTA && own) return;
  if (!task.cred.capable('CAP_SYS_ADMIN')) throw errno('EPERM');
}

/** Commands that change nothing, so that a frozen filesystem does not hold them up (quotactl_cmd_write). */
const READING: ReadonlySet<number> = new Set([Q_GETFMT, Q_GETINFO, Q_SYNC]);

/** Run `body` with s_umount, exclusive to switch quotas, on a filesystem that is not frozen where it may write (quotactl_block). */
async function withSuper<T>(task: Task, sb: SuperBlock, cmd: number, body: () => Promise<T>): Promise<T> {
  const switches = cmd === Q_QUOTAON || cmd === Q_QUOTAOFF;
  for (;;) {
    {
      using _umount = switches ? await sb.s_umount.write(task) : await sb.s_umount.read(task);
      if (READING.has(cmd) || sb.s_writers.frozen === SB_UNFROZEN) return await body();
    }
    sb_end_write(await sb_start_write(task, sb));
  }
}

/**
 * @param cmd Q_*
 * @param type USRQUOTA, GRPQUOTA or PRJQUOTA
 * @param dev the device, here the superblock on it
 * @param id of the user, group or project; ignored where the command has none
 * @param given what is to be set
 * @returns what was asked for
 * @throws EINVAL for an unknown command or type, and to enforce limits where usage is not counted; ENOSYS where the filesystem has no quotas; EPERM; ESRCH where quotas of
 * the type are off; EEXIST to switch on or off what is so already; ENOENT where no quota follows; ERANGE; EIO EROFS
 */
export async function quotactl(
  task: Task,
  _p: Process,
  cmd: number,
  type: number,
  dev: SuperBlock,
  id = 0,
  given: QuotaArgument = {},
): Promise<QuotaArgument> {
  const known = QUOTA_TYPES.find((one) => one === type);
  if (known === undefined) throw errno('EINVAL');
  return await do_quotactl(task, dev, cmd, known, id, given, () => check_quotactl_permission(task, cmd, known, id));
}

/** As quotactl, for a caller who may do anything, or whom `permit` asks. @throws as quotactl */
export async function do_quotactl(
  task: Task,
  sb: SuperBlock,
  cmd: number,
  type: QuotaType,
  id = 0,
  given: QuotaArgument = {},
  permit: () => void = () => undefined,
): Promise<QuotaArgument> {
  return await withSuper(task, sb, cmd, async () => {
    const { s_qcop: ops } = sb;
    if (ops === undefined) throw errno('ENOSYS');
    permit();
    return await run(task, ops, cmd, type, sb, id, given);
  });
}

/** With s_umount held. */
async function run(
  task: Task,
  ops: quotactl_ops,
  cmd: number,
  type: QuotaType,
  sb: SuperBlock,
  id: number,
  given: QuotaArgument,
): Promise<QuotaArgument> {
  switch (cmd) {
    case Q_QUOTAON:
      await ops.quota_enable(task, sb, type);
      return {};
    case Q_QUOTAOFF:
      await ops.quota_disable(task, sb, type);
      return {};
    case Q_SYNC:
      await ops.quota_sync(task, sb, type);
      return {};
    case Q_GETFMT:
      if (!sb_has_quota_active(sb, type)) throw errno('ESRCH');
      return { dqi_format: sb.s_dquot.loaded[type]?.format.qf_fmt_id ?? 0 };
    case Q_GETINFO:
      return await ops.get_info(task, sb, type);
    case Q_SETINFO:
      await ops.set_info(task, sb, type, given);
      return {};
    case Q_GETQUOTA:
      return await ops.get_dqblk(task, sb, type, id);
    case Q_GETNEXTQUOTA:
      return await ops.get_nextdqblk(task, sb, type, id);
    case Q_SETQUOTA:
      await ops.set_dqblk(task, sb, type, id, given);
      return {};
    default:
      throw errno('EINVAL');
  }
}
