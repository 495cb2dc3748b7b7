/** fsync(2): data, then the inode, then the device's own cache. */
import { submit_bio_wait } from '../block/bio.js';
import { sync_blockdev } from '../block/buffer-cache.js';
import type { File } from '../fs/file.js';
import { write_inode_now } from '../fs/fs-writeback.js';
import { file_check_and_advance_wb_err } from '../mm/filemap-wait.js';
import type { Task } from '../sched/task.js';
import { infoOf, type LatchInfo, with_handle } from './info.js';

/** Everything that is in buffers is on the device, and stays there. @throws EIO */
export async function flushDevice(task: Task, info: LatchInfo): Promise<void> {
  await with_handle(task, info, (handle) => info.writeSuper(task, handle));
  await sync_blockdev(task, info.bdev);
  await submit_bio_wait(task, info.bdev, { op: 'flush', sector: 0, vecs: [], length: 0 });
}

/** @throws EIO ENOSPC, also for earlier writes that failed, once to each open file */
export async function latch_fsync(task: Task, file: File): Promise<void> {
  await write_inode_now(task, file.f_inode, true);
  await flushDevice(task, infoOf(file.f_inode.i_sb));
  const error = file_check_and_advance_wb_err(file);
  if (error !== undefined) throw error;
}
