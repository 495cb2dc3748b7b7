/** Blocks of metadata that nothing was in before. */
import type { BlockDevice } from '../block/block-device.js';
import { brelse } from '../block/buffer.js';
import { sb_getblk } from '../block/buffer-cache.js';
import type { Task } from '../sched/task.js';
import type { Handle } from './journal/types.js';

/** Put bytes into a block that was just taken, which need not be read; behind them are zeroes. @throws EIO EROFS where the journal was aborted */
export async function write_new_block(
  task: Task,
  handle: Handle,
  bdev: BlockDevice,
  block: number,
  bytes: Buffer,
): Promise<void> {
  const bh = sb_getblk(task, bdev, block);
  try {
    await handle.get_write_access(task, bh);
    bytes.copy(bh.b_data);
    bh.b_data.fill(0, bytes.length);
    bh.uptodate = true;
    handle.dirty_metadata(task, bh);
  } finally {
    brelse(bh);
  }
}
