/** Blocks that a repair writes: through the buffer cache, so that a second look sees them. */

import { brelse, mark_buffer_dirty } from '../../block/buffer.js';
import { sb_bread, sb_getblk } from '../../block/buffer-cache.js';
import type { FsckContext } from './context.js';

/** Put the bytes of a block into the buffer cache, to be written. */
export function putBlock({ task, bdev }: FsckContext, block: number, bytes: Buffer): void {
  const bh = sb_getblk(task, bdev, block);
  bytes.copy(bh.b_data);
  bh.uptodate = true;
  bh.verified = false;
  mark_buffer_dirty(bh);
  brelse(bh);
}

/** Change a block in the buffer cache, to be written. @throws EIO */
export async function changeBlock(
  { task, bdev }: FsckContext,
  block: number,
  change: (bytes: Buffer) => void,
): Promise<void> {
  const bh = await sb_bread(task, bdev, block);
  change(bh.b_data);
  bh.verified = false;
  mark_buffer_dirty(bh);
  brelse(bh);
}
