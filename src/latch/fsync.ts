/** fsync(2): the data, then the transaction that has the inode, and a flush where that did not bring one. */
import { blkdev_issue_flush } from '../block/bio.js';
import type { File } from '../fs/file.js';
import { write_inode_now } from '../fs/fs-writeback.js';
import { SB_RDONLY } from '../fs/super-block.js';
import { file_check_and_advance_wb_err, file_write_and_wait_range } from '../mm/filemap-wait.js';
import type { Task } from '../sched/task.js';
import { infoOf } from './info.js';
import { latchInode } from './inode.js';
import { aborted_errno, log_wait_commit } from './journal/types.js';

/**
 * Everything of a file is on the device, and stays there; with `datasync` all that is needed to read its data again (ext4_sync_file).
 * @throws EIO ENOSPC, also for earlier writes that failed, once to each open file; EROFS where the journal was aborted
 */
export async function latch_fsync(
  task: Task,
  file: File,
  start = 0,
  end = Number.MAX_SAFE_INTEGER,
  datasync = false,
): Promise<void> {
  const inode = latchInode(file.f_inode);
  const info = infoOf(inode.i_sb);
  const { sb, bdev, journal } = info;
  info.assert_running();
  try {
    if ((sb.s_flags & SB_RDONLY) === 0) {
      await file_write_and_wait_range(task, file, start, end);
      await write_inode_now(task, inode, true);
      const tid = datasync ? inode.i_datasync_tid : inode.i_sync_tid;
      if (!(await log_wait_commit(task, journal, tid))) await blkdev_issue_flush(task, bdev);
    } else if (journal.error !== undefined) throw aborted_errno(journal.error);
  } catch (error) {
    // Whatever it was, this open file was told with it.
    file_check_and_advance_wb_err(file);
    throw error;
  }
  const error = file_check_and_advance_wb_err(file);
  if (error !== undefined) throw error;
}
