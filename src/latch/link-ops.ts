/** Symlinks, and special files, which have attributes only. */

import { brelse } from '../block/buffer.js';
import { sb_bread } from '../block/buffer-cache.js';
import type { Dentry } from '../fs/dentry.js';
import type { Inode } from '../fs/inode.js';
import type { inode_operations } from '../fs/operations.js';
import { GUARDED, guard_read } from '../locking/guarded.js';
import type { Awaitable } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { latch_get_acl, latch_get_inode_acl, latch_set_acl } from './acl.js';
import { latch_getattr, latch_setattr, latch_update_time } from './attr.js';
import { takeBlocks } from './charge.js';
import { insertExtent } from './extents-change.js';
import { infoOf } from './info.js';
import { type LatchInode, latchInode } from './inode.js';
import type { Handle } from './journal/types.js';
import { write_new_block } from './new-block.js';
import { latch_listxattr } from './xattr.js';

/** A target that does not fit in the inode has a block of its own. @throws ENOSPC EDQUOT */
export async function writeLongLink(task: Task, handle: Handle, inode: LatchInode, target: string): Promise<void> {
  const { start } = await takeBlocks(task, handle, inode, 1);
  await insertExtent(inode.extents, task, handle, { logical: 0, physical: start, length: 1, unwritten: false });
  await write_new_block(task, handle, infoOf(inode.i_sb).bdev, start, Buffer.from(target, 'latin1'));
}

function get_link(task: Task, dentry: Dentry | undefined, inode: Inode): Awaitable<string> {
  if (dentry === undefined) guard_read(task, GUARDED.under_rcu, inode.i_sb.rcu);
  if (dentry === undefined && inode.i_link === undefined) throw errno('ECHILD');
  return inode.i_link ?? readLong(task, latchInode(inode));
}

async function readLong(task: Task, inode: LatchInode): Promise<string> {
  const extent = await inode.extents.find(task, 0);
  if (extent === undefined) throw errno('EIO', `symlink ${inode.i_ino} has no target`);
  const bh = await sb_bread(task, infoOf(inode.i_sb).bdev, extent.physical);
  const target = bh.b_data.toString('latin1', 0, inode.i_size);
  brelse(bh);
  inode.i_link = target;
  return target;
}

export const symlink_inode_operations: inode_operations = {
  get_link,
  setattr: latch_setattr,
  getattr: latch_getattr,
  update_time: latch_update_time,
  listxattr: latch_listxattr,
};

export const special_inode_operations: inode_operations = {
  setattr: latch_setattr,
  getattr: latch_getattr,
  update_time: latch_update_time,
  listxattr: latch_listxattr,
  get_inode_acl: latch_get_inode_acl,
  get_acl: latch_get_acl,
  set_acl: latch_set_acl,
};
