/** Finishing at mount what a crash has interrupted (ext4_orphan_cleanup). */
import { iput } from '../fs/icache.js';
import { errno, isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { MAX_LOGICAL } from './extent-list.js';
import { BLOCK_SIZE } from './format/layout.js';
import { FormatError } from './format/superblock.js';
import { type LatchInfo, with_handle } from './info.js';
import { type LatchInode, latch_iget } from './inode.js';
import { writeInode } from './inode-disk.js';
import { freeBlocks } from './truncate.js';

/** How many inodes without a name were deleted, and how many truncations finished. */
export interface Cleaned {
  readonly deleted: number;
  readonly truncated: number;
}

/**
 * Go through the orphan list: delete what has no name, and cut off what lies behind the end of the others.
 * @throws FormatError where the list is damaged; EIO
 */
export async function cleanOrphans(task: Task, info: LatchInfo): Promise<Cleaned> {
  let deleted = 0;
  let truncated = 0;
  while (info.super.orphan !== 0) {
    const ino = info.super.orphan;
    const inode = await orphanInode(task, info, ino);
    info.orphans.adopt(inode);
    if (inode.i_nlink > 0) {
      truncated++;
      await finishTruncate(task, info, inode);
    } else deleted++;
    await iput(task, inode);
    if (info.super.orphan === ino) throw errno('EIO', `orphan ${ino} cannot be dealt with`);
  }
  return { deleted, truncated };
}

async function orphanInode(task: Task, info: LatchInfo, ino: number): Promise<LatchInode> {
  try {
    return await latch_iget(task, info, ino);
  } catch (error) {
    if (!isErrno(error, 'ESTALE') && !isErrno(error, 'EIO')) throw error;
    throw new FormatError(
      `${info.bdev.name}: the orphan list names inode ${ino}, which is none; look at it with: latchfs fsck ${info.bdev.name}`,
    );
  }
}

async function finishTruncate(task: Task, info: LatchInfo, inode: LatchInode): Promise<void> {
  await with_handle(task, info, async (handle) => {
    await freeBlocks(task, handle, inode, Math.ceil(inode.i_size / BLOCK_SIZE), MAX_LOGICAL);
    inode.eofEnd = 0;
    await info.orphans.del(task, handle, inode);
    await writeInode(task, handle, info, inode);
  });
}
