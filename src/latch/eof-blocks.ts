/**
 * Blocks that writeback maps behind the end that a file has on the device: the file is called longer only when its data are there (end-io.ts). What a crash, or a
 * device that fails, leaves of them is given back when the inode leaves memory next, unless that is to free memory; what fallocate has put there stays. The inode says on the device that there may be
 * some (a flag that ext4 had for a while), which costs nothing: it is written when they are mapped, and when the file gets longer.
 */
import { type Awaitable, andThen } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import { MAX_LOGICAL } from './extent-list.js';
import type { Extent } from './format/inode.js';
import { BLOCK_SIZE } from './format/layout.js';
import { CREDITS, infoOf, with_handle } from './info.js';
import type { LatchInode } from './inode.js';
import { writeInode } from './inode-disk.js';
import type { Handle } from './journal/types.js';
import { freeBlocks } from './truncate.js';

/** The first block behind the end that a file has on the device. */
function eofOf(inode: LatchInode): number {
  return Math.ceil(inode.i_disksize / BLOCK_SIZE);
}

/**
 * Pages are about to get blocks up to `end` exclusive. What lies behind the end of the file already, and is not of writeback, was asked for by somebody: then nothing of it is given back later.
 * @throws EIO
 */
export function note_eof_blocks(task: Task, inode: LatchInode, end: number): Awaitable<void> {
  const eof = eofOf(inode);
  if (end <= eof) return undefined;
  if (inode.has_eof_blocks) {
    inode.eofEnd = Math.max(inode.eofEnd, end);
    return undefined;
  }
  return andThen(inode.extents.next(task, eof), noteUnless, inode, end);
}

function noteUnless(behind: Extent | undefined, inode: LatchInode, end: number): void {
  if (behind === undefined || inode.has_eof_blocks) inode.eofEnd = Math.max(inode.eofEnd, end);
}

/** Give back what lies behind the end of an inode that leaves memory: nothing is on its way there any more. In a handle of its own. @throws EIO EROFS */
export function free_eof_blocks(task: Task, inode: LatchInode): Awaitable<void> {
  return with_handle(task, infoOf(inode.i_sb), freeIn, CREDITS, inode);
}

async function freeIn(handle: Handle, task: Task, inode: LatchInode): Promise<void> {
  await freeBlocks(task, handle, inode, eofOf(inode), MAX_LOGICAL);
  inode.eofEnd = 0;
  await writeInode(task, handle, infoOf(inode.i_sb), inode);
}
