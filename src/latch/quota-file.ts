/**
 * The quota files: ordinary files without a name, whose blocks are metadata, so that usage is a part of the transaction that changes it. They only grow. What is in them is
 * the quota code's business (fs/quota/quota-v2.ts).
 */

import { brelse } from '../block/buffer.js';
import { sb_bread, sb_getblk } from '../block/buffer-cache.js';
import type { BufferHead } from '../block/buffer-head.js';
import { i_size_init } from '../fs/inode.js';
import type { QuotaType } from '../fs/quota/types.js';
import type { SuperBlock } from '../fs/super-block.js';
import { GUARDED, guard_read, guard_write } from '../locking/guarded.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { BLOCK_SIZE } from './format/layout.js';
import { infoOf, with_handle } from './info.js';
import type { LatchInode } from './inode.js';
import { writeInode } from './inode-disk.js';
import type { Handle } from './journal/types.js';
import { mapRun } from './map.js';

function fileOf(sb: SuperBlock, type: QuotaType): LatchInode {
  const inode = infoOf(sb).quotaFiles[type];
  if (inode === undefined) throw errno('EIO', 'the quota file is not open');
  return inode;
}

/** ->quota_read. With dqio_sem held. @throws EIO */
export async function latch_quota_read(
  task: Task,
  sb: SuperBlock,
  type: QuotaType,
  length: number,
  offset: number,
): Promise<Buffer> {
  guard_read(task, GUARDED.quota_file, sb.s_dquot.dqio_sem);
  const inode = fileOf(sb, type);
  const end = Math.min(offset + length, inode.i_size);
  const pieces: Buffer[] = [];
  for (let pos = offset; pos < end; ) {
    const here = Math.min(end - pos, BLOCK_SIZE - (pos % BLOCK_SIZE));
    pieces.push(await readPiece(task, inode, pos, here));
    pos += here;
  }
  return Buffer.concat(pieces);
}

/** Bytes within one block; those of a hole are zeroes. */
async function readPiece(task: Task, inode: LatchInode, pos: number, length: number): Promise<Buffer> {
  const extent = await inode.extents.find(task, Math.floor(pos / BLOCK_SIZE));
  if (extent === undefined) return Buffer.alloc(length);
  const block = extent.physical + Math.floor(pos / BLOCK_SIZE) - extent.logical;
  const bh = await sb_bread(task, infoOf(inode.i_sb).bdev, block);
  const at = pos % BLOCK_SIZE;
  const bytes = Buffer.from(bh.b_data.subarray(at, at + length));
  brelse(bh);
  return bytes;
}

/** ->quota_write. With dqio_sem held exclusively, in a handle of who calls the quota code. @throws ENOSPC EIO EROFS */
export async function latch_quota_write(
  task: Task,
  sb: SuperBlock,
  type: QuotaType,
  bytes: Buffer,
  offset: number,
): Promise<number> {
  guard_write(task, GUARDED.quota_file, sb.s_dquot.dqio_sem);
  await with_handle(task, infoOf(sb), (handle) => write_quota_file(task, handle, fileOf(sb, type), bytes, offset));
  return bytes.length;
}

/** Write to a quota file that nobody else can write to. @throws ENOSPC EIO EROFS */
export async function write_quota_file(
  task: Task,
  handle: Handle,
  inode: LatchInode,
  bytes: Buffer,
  offset: number,
): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const pos = offset + done;
    const here = Math.min(bytes.length - done, BLOCK_SIZE - (pos % BLOCK_SIZE));
    const bh = await blockAt(task, handle, inode, Math.floor(pos / BLOCK_SIZE));
    try {
      bytes.copy(bh.b_data, pos % BLOCK_SIZE, done, done + here);
      handle.dirty_metadata(task, bh);
    } finally {
      brelse(bh);
    }
    done += here;
  }
  if (offset + bytes.length <= inode.i_size) return;
  inode.i_disksize = offset + bytes.length;
  i_size_init(inode, inode.i_disksize);
  await writeInode(task, handle, infoOf(inode.i_sb), inode);
}

/** The buffer of a block of the file, with write access; a block that is not there is made. */
async function blockAt(task: Task, handle: Handle, inode: LatchInode, logical: number): Promise<BufferHead> {
  const { bdev } = infoOf(inode.i_sb);
  let extent = await inode.extents.find(task, logical);
  const fresh = extent === undefined;
  if (extent === undefined) {
    await mapRun(task, handle, inode, { logical, length: 1 }, false);
    await writeInode(task, handle, infoOf(inode.i_sb), inode);
    extent = await inode.extents.find(task, logical);
    if (extent === undefined) throw errno('EIO', `block ${logical} of a quota file has no place`);
  }
  const block = extent.physical + logical - extent.logical;
  const bh = fresh ? sb_getblk(task, bdev, block) : await sb_bread(task, bdev, block);
  try {
    await handle.get_write_access(task, bh);
  } catch (error) {
    brelse(bh);
    throw error;
  }
  if (fresh) {
    bh.b_data.fill(0);
    bh.uptodate = true;
  }
  return bh;
}
