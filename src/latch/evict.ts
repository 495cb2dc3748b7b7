/** The end of an inode without a name: its blocks and its number are given back (ext4_evict_inode). */
import type { Inode } from '../fs/inode.js';
import { SB_RDONLY } from '../fs/super-block.js';
import { truncate_inode_pages_final } from '../mm/truncate.js';
import { Errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { MAX_LOGICAL } from './extents.js';
import { infoOf, type LatchInfo, with_handle } from './info.js';
import { hasExtents, type LatchInode, latchInode } from './inode.js';
import type { Handle } from './journal/types.js';
import { freeBlocks } from './truncate.js';
import { freeXattrs } from './xattr.js';

/** The last reference is gone: an inode without a name is deleted. Where that fails it stays on the orphan list, and the next mount does it. */
export async function evict_inode(task: Task, given: Inode): Promise<void> {
  const inode = latchInode(given);
  const mapping = inode.mappingIfAny;
  if (mapping !== undefined) await truncate_inode_pages_final(task, mapping);
  // One that could not be read has no mode.
  if (inode.i_mode === 0 || (inode.i_sb.s_flags & SB_RDONLY) !== 0) return;
  const info = infoOf(inode.i_sb);
  if (inode.i_nlink > 0) {
    // A truncation has failed halfway: nobody may find the inode by the list in memory any more.
    if (info.orphans.has(inode)) await with_handle(task, info, (handle) => info.orphans.del(task, handle, inode));
    return;
  }
  try {
    await with_handle(task, info, (handle) => deleteInode(task, handle, info, inode));
  } catch (error) {
    if (!(error instanceof Errno)) throw error;
  }
}

async function deleteInode(task: Task, handle: Handle, info: LatchInfo, inode: LatchInode): Promise<void> {
  if (hasExtents(inode)) await freeBlocks(task, handle, inode, 0, MAX_LOGICAL);
  await freeXattrs(task, handle, inode);
  await info.orphans.del(task, handle, inode);
  await info.inodes.free(task, handle, inode.i_ino);
}
