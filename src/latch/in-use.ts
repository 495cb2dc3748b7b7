/** What the device says of itself: in use from the first change on, and clean once everything has come home. */
import { blkdev_issue_flush } from '../block/bio.js';
import { sync_blockdev } from '../block/buffer-writeback.js';
import type { SuperBlock } from '../fs/super-block.js';
import { GUARDED, guard_write } from '../locking/guarded.js';
import type { Task } from '../sched/task.js';
import { type LatchInfo, with_handle } from './info.js';
import { ensure_quotas, load_quotas } from './quota.js';
import { cleanOrphans } from './recover.js';

/** Say on the device that it is in use, and work off the orphan list. With s_umount held exclusively. @throws EIO */
export async function begin_writing(task: Task, sb: SuperBlock, info: LatchInfo, wantsQuota = false): Promise<void> {
  info.super.clean = false;
  info.super.mounts++;
  await with_handle(task, info, (handle) => {
    guard_write(task, GUARDED.s_on_disk, sb.s_umount);
    return info.changeSuper(task, handle);
  });
  await load_quotas(task, sb, info);
  const { deleted, truncated } = await cleanOrphans(task, info);
  if (deleted + truncated > 0) {
    sb.machine.printk?.(`${sb.s_id}: deleted ${deleted} orphans, finished ${truncated} truncations`);
  }
  await ensure_quotas(task, sb, info, wantsQuota);
  await info.journal.force_commit(task);
}

/** Bring everything home, and say on the device that it is clean. With s_umount held exclusively. @param flush brings the log home @throws EIO */
export async function end_writing(
  task: Task,
  sb: SuperBlock,
  info: LatchInfo,
  flush: () => Promise<void>,
): Promise<void> {
  guard_write(task, GUARDED.s_on_disk, sb.s_umount);
  await flush();
  guard_write(task, GUARDED.s_on_disk, sb.s_umount);
  info.super.clean = true;
  await info.writeSuper(task);
  await sync_blockdev(task, info.bdev);
  await blkdev_issue_flush(task, info.bdev);
}
