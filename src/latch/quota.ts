/**
 * Quotas of latch (the quota half of fs/ext4/super.c). Where the filesystem has the feature, usage is counted from the mount on; limits are enforced when they are
 * switched on. Every operation is the generic one in a handle, so that what it writes is part of the transaction of the change.
 */
import {
  dquot_acquire,
  dquot_commit,
  dquot_commit_info,
  dquot_mark_dquot_dirty,
  dquot_release,
} from '../fs/quota/dquot.js';
import { v2_format_ops } from '../fs/quota/quota-v2.js';
import { dquot_quotactl_ops } from '../fs/quota/quotactl.js';
import { dquot_disable, dquot_load_quota_sb, dquot_quota_enable } from '../fs/quota/switch.js';
import {
  type dquot_operations,
  QUOTA_TYPES,
  type quotactl_ops,
  sb_has_quota_limits_enabled,
} from '../fs/quota/types.js';
import type { SuperBlock } from '../fs/super-block.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { DQUOT_CREDITS } from './charge.js';
import { BLOCK_SIZE } from './format/layout.js';
import { COMPAT_QUOTA, COMPAT_RECOUNT } from './format/superblock.js';
import { infoOf, type LatchInfo, with_handle } from './info.js';
import { latch_iget_hidden, latchInode } from './inode.js';
import { make_quota_files, recount_quotas } from './quota-make.js';

/** Blocks that the quotas of a file's owner and group, old and new, may dirty, with what holds for all quotas. */
const QUOTA_CREDITS = 8;

/** Run an operation of the quota code in a handle: the one that is open, made large enough where it can be, or one of its own. */
async function inHandle(task: Task, sb: SuperBlock, body: () => Promise<void>, credits: number): Promise<void> {
  await with_handle(
    task,
    infoOf(sb),
    async (handle) => {
      if (handle.credits < credits) handle.extend(credits - handle.credits);
      await body();
    },
    credits,
  );
}

const latch_quota_operations: dquot_operations = {
  write_dquot: (task, dquot) => inHandle(task, dquot.dq_sb, () => dquot_commit(task, dquot), QUOTA_CREDITS),
  acquire_dquot: (task, dquot) => inHandle(task, dquot.dq_sb, () => dquot_acquire(task, dquot), DQUOT_CREDITS),
  release_dquot: (task, dquot) => inHandle(task, dquot.dq_sb, () => dquot_release(task, dquot), DQUOT_CREDITS),
  mark_dirty: dquot_mark_dquot_dirty,
  write_info: (task, sb, type) => inHandle(task, sb, () => dquot_commit_info(task, sb, type), QUOTA_CREDITS),
  get_reserved_space: (inode) => latchInode(inode).delayed * BLOCK_SIZE,
  journaled: true,
};

const latch_quotactl_ops: quotactl_ops = {
  ...dquot_quotactl_ops,
  set_dqblk: (task, sb, type, id, given) => {
    // Usage is what the inodes have: it is counted, not set.
    if (given.dqb_curspace !== undefined || given.dqb_curinodes !== undefined) throw errno('EINVAL');
    return dquot_quotactl_ops.set_dqblk(task, sb, type, id, given);
  },
};

/** Whether the filesystem counts what users and groups have. */
function hasQuota({ super: disk }: LatchInfo): boolean {
  return (disk.compat & COMPAT_QUOTA) !== 0;
}

/**
 * Begin to count usage, where the filesystem does (ext4_enable_quotas). Before anything changes what is in use; s_umount is held exclusively.
 * @throws EINVAL where a quota file is none; EIO
 */
export async function load_quotas(task: Task, sb: SuperBlock, info: LatchInfo): Promise<void> {
  const { quotaInodes } = info.super;
  if (!hasQuota(info) || quotaInodes.every((ino) => ino === 0)) return;
  sb.dq_op = latch_quota_operations;
  sb.s_qcop = latch_quotactl_ops;
  for (const type of QUOTA_TYPES) {
    // One that an earlier latchfs did not know is made later.
    if (quotaInodes[type] === 0) continue;
    info.quotaFiles[type] = await latch_iget_hidden(task, info, quotaInodes[type]);
    await dquot_load_quota_sb(task, sb, type, v2_format_ops);
  }
  info.quotaCredits = QUOTA_CREDITS;
  for (const type of info.quotaLimits) await dquot_quota_enable(task, sb, type);
}

/**
 * Make quota files where the filesystem is to have them and has none yet, and count what is in use (quotacheck); count anew where fsck has asked for that. Nobody else uses the filesystem; s_umount is held
 * exclusively.
 * @param wanted the mount asks for quotas, also where the filesystem has not had them so far
 * @throws ENOSPC EIO
 */
export async function ensure_quotas(task: Task, sb: SuperBlock, info: LatchInfo, wanted: boolean): Promise<void> {
  if (!hasQuota(info) && !wanted) return;
  sb.dq_op = latch_quota_operations;
  sb.s_qcop = latch_quotactl_ops;
  info.quotaCredits = QUOTA_CREDITS;
  if (info.super.quotaInodes.includes(0)) await make_quota_files(task, sb, info);
  if ((info.super.compat & COMPAT_RECOUNT) !== 0) await recount_quotas(task, sb, info);
}

/** Count usage no more, because nothing will change it: the filesystem becomes read-only, or is unmounted (ext4_quotas_off). s_umount is held exclusively. @throws EIO EROFS */
export async function unload_quotas(task: Task, sb: SuperBlock, info: LatchInfo): Promise<void> {
  info.quotaLimits = QUOTA_TYPES.filter((type) => sb_has_quota_limits_enabled(sb, type));
  try {
    await dquot_disable(task, sb);
  } finally {
    info.quotaFiles.length = 0;
    info.quotaCredits = 0;
    sb.dq_op = undefined;
    sb.s_qcop = undefined;
  }
}
