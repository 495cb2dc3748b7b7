/** statfs(2) (ext4_statfs): of the filesystem, or in a directory of a project as far as its quota reaches. */

import type { Dentry } from '../fs/dentry.js';
import { type IfDqblk, PRJQUOTA, QUOTABLOCK_SIZE, sb_has_quota_limits_enabled } from '../fs/quota/types.js';
import type { Kstatfs } from '../fs/types.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import { FS_PROJINHERIT_FL } from '../uapi/fs.js';
import { BLOCK_SIZE, INODES_PER_BLOCK, LATCH_MAGIC } from './format/layout.js';
import { infoOf } from './info.js';
import { latchInode } from './inode.js';

function whole(dentry: Dentry): Kstatfs {
  const { super: disk, alloc, inodes } = infoOf(dentry.d_sb);
  const free = alloc.promises.available;
  // What may still be created if nothing else takes blocks: a create takes one of them, also where a block of inodes is made for it.
  const ffree = inodes.freeSlots + free * INODES_PER_BLOCK;
  return {
    f_type: LATCH_MAGIC,
    f_bsize: BLOCK_SIZE,
    f_frsize: BLOCK_SIZE,
    f_blocks: disk.blocks,
    f_bfree: free,
    f_bavail: free,
    f_files: disk.inodes + ffree,
    f_ffree: ffree,
    f_namelen: 255,
    f_fsid: disk.uuid.readUInt32LE(0),
    f_flags: 0,
  };
}

/** The lower limit of two, of which 0 is none. */
function lower(soft: number, hard: number): number {
  return soft > 0 && hard > 0 ? Math.min(soft, hard) : Math.max(soft, hard);
}

/** What of a filesystem a project sees (ext4_statfs_project). */
function within(all: Kstatfs, quota: IfDqblk): Kstatfs {
  const seen = { ...all };
  const blocks = Math.floor((lower(quota.dqb_bsoftlimit, quota.dqb_bhardlimit) * QUOTABLOCK_SIZE) / BLOCK_SIZE);
  if (blocks > 0) {
    const left = Math.max(0, blocks - Math.floor(quota.dqb_curspace / BLOCK_SIZE));
    seen.f_blocks = Math.min(all.f_blocks, blocks);
    seen.f_bfree = Math.min(all.f_bfree, left);
    seen.f_bavail = Math.min(all.f_bavail, left);
  }
  const inodes = lower(quota.dqb_isoftlimit, quota.dqb_ihardlimit);
  if (inodes > 0) {
    seen.f_files = Math.min(all.f_files, inodes);
    seen.f_ffree = Math.min(all.f_ffree, Math.max(0, inodes - quota.dqb_curinodes));
  }
  return seen;
}

/** ->statfs. In a directory of a project takes dqonoff_sem shared. @throws EIO */
export function latch_statfs(task: Task, dentry: Dentry): Awaitable<Kstatfs> {
  const { d_sb: sb, d_inode } = dentry;
  const all = whole(dentry);
  if (d_inode === undefined || sb.s_qcop === undefined || !sb_has_quota_limits_enabled(sb, PRJQUOTA)) return all;
  const { flags, i_projid } = latchInode(d_inode);
  if ((flags & FS_PROJINHERIT_FL) === 0) return all;
  return andThen(sb.s_qcop.get_dqblk(task, sb, PRJQUOTA, i_projid), (quota) => within(all, quota));
}
