/** Making quota files in a filesystem that is being mounted, and counting anew what everybody has. */

import { I_NEW, inode_init, inode_state_change, S_NOQUOTA } from '../fs/inode.js';
import { emptyQuotaFile, v2_format_ops } from '../fs/quota/quota-v2.js';
import { dquot_quotactl_ops as generic } from '../fs/quota/quotactl.js';
import { dquot_load_quota_sb } from '../fs/quota/switch.js';
import { type IfDqblk, QUOTA_TYPES, type QuotaType } from '../fs/quota/types.js';
import type { SuperBlock } from '../fs/super-block.js';
import { isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { S_IFREG } from '../uapi/stat.js';
import { ACQUIRE_CREDITS } from './charge.js';
import { COMPAT_QUOTA, COMPAT_RECOUNT } from './format/superblock.js';
import { type LatchInfo, with_handle } from './info.js';
import { LatchInode } from './inode.js';
import { writeInode } from './inode-disk.js';
import type { Handle } from './journal/types.js';
import { write_quota_file } from './quota-file.js';
import { countUsage, type UsageCount } from './quota-usage.js';

/**
 * Make the quota files that are not there. Until all is counted they are orphans: a crash leaves nothing of them. The superblock names them in the transaction that makes them whole.
 * @throws ENOSPC EIO
 */
export async function make_quota_files(task: Task, sb: SuperBlock, info: LatchInfo): Promise<void> {
  const usage = await countUsage(task, info);
  const files: (LatchInode | undefined)[] = [];
  for (const type of QUOTA_TYPES) {
    if (info.super.quotaInodes[type] !== 0) continue;
    const inode = await with_handle(task, info, (handle) => makeFile(task, handle, info, type), ACQUIRE_CREDITS);
    info.quotaFiles[type] = inode;
    files[type] = inode;
    await dquot_load_quota_sb(task, sb, type, v2_format_ops);
    await setUsage(task, sb, type, usage);
  }
  await with_handle(task, info, async (handle) => {
    for (const type of QUOTA_TYPES) {
      const inode = files[type];
      if (inode === undefined) continue;
      await info.orphans.del(task, handle, inode);
      inode_init(inode).i_nlink = 1;
      await writeInode(task, handle, info, inode);
      info.super.quotaInodes[type] = inode.i_ino;
    }
    info.super.compat |= COMPAT_QUOTA;
    await info.changeSuper(task, handle);
  });
}

/** Count anew what is in use, because fsck has changed it; limits stay. A crash in between leaves it to the next mount. @throws EIO */
export async function recount_quotas(task: Task, sb: SuperBlock, info: LatchInfo): Promise<void> {
  const usage = await countUsage(task, info);
  for (const type of QUOTA_TYPES) await setUsage(task, sb, type, usage);
  await with_handle(task, info, (handle) => {
    info.super.compat &= ~COMPAT_RECOUNT;
    return info.changeSuper(task, handle);
  });
}

/** Put what everybody has into the quota file. A grace that has begun goes on (quotacheck's update_grace_times). */
async function setUsage(task: Task, sb: SuperBlock, type: QuotaType, usage: UsageCount): Promise<void> {
  const counted = usage.of[type] ?? new Map();
  const known = await quotasIn(task, sb, type);
  for (const id of new Set([...known.keys(), ...counted.keys()])) {
    const { space = 0, inodes = 0 } = counted.get(id) ?? {};
    const { dqb_btime = 0, dqb_itime = 0 } = known.get(id) ?? {};
    await generic.set_dqblk(task, sb, type, id, {
      dqb_curspace: space,
      dqb_curinodes: inodes,
      ...(dqb_btime === 0 ? {} : { dqb_btime }),
      ...(dqb_itime === 0 ? {} : { dqb_itime }),
    });
  }
}

/** The quotas that are in the quota file, by id. */
async function quotasIn(task: Task, sb: SuperBlock, type: QuotaType): Promise<ReadonlyMap<number, IfDqblk>> {
  const quotas = new Map<number, IfDqblk>();
  for (let next = 0; ; ) {
    try {
      const quota = await generic.get_nextdqblk(task, sb, type, next);
      quotas.set(quota.dqb_id, quota);
      next = quota.dqb_id + 1;
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return quotas;
      throw error;
    }
  }
}

/** An empty quota file, on the orphan list. @throws ENOSPC EIO */
async function makeFile(task: Task, handle: Handle, info: LatchInfo, type: QuotaType): Promise<LatchInode> {
  const inode = new LatchInode(info.sb);
  inode.i_ino = await info.inodes.allocate(task, handle, S_IFREG | 0o600);
  const attrs = inode_init(inode);
  attrs.i_mode = S_IFREG | 0o600;
  attrs.i_nlink = 0;
  inode_state_change(task, inode, I_NEW);
  attrs.i_flags |= S_NOQUOTA;
  inode.i_generation = info.super.generation;
  info.super.generation = (info.super.generation + 1) >>> 0;
  inode.i_atime = inode.i_mtime = inode.i_ctime = inode.i_btime = task.sched.realtime();
  await info.orphans.add(task, handle, inode);
  await write_quota_file(task, handle, inode, emptyQuotaFile(type), 0);
  return inode;
}
