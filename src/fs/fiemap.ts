/** FS_IOC_FIEMAP: where a file's blocks are (fs/ioctl.c). */

import { inode_operations } from '../contract/inode.js';
import { call } from '../locking/context.js';
import { filemap_write_and_wait_range } from '../mm/filemap-wait.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { FIEMAP_EXTENT_LAST, FIEMAP_FLAG_SYNC } from '../uapi/fiemap.js';
import type { Inode } from './inode.js';
import type { FiemapInfo } from './types.js';

/** Bytes of struct fiemap without extents, and of one struct fiemap_extent. */
const HEADER = 32;
const EXTENT = 56;

/**
 * What every ->fiemap does first (fiemap_prep): the range is checked and cut, and with FIEMAP_FLAG_SYNC the file is written.
 * @param supported the flags that the filesystem has besides FIEMAP_FLAG_SYNC
 * @returns bytes to look at
 * @throws EINVAL EFBIG; EBADR for flags that it has not
 */
export async function fiemap_prep(
  task: Task,
  inode: Inode,
  info: FiemapInfo,
  start: number,
  length: number,
  supported: number,
): Promise<number> {
  const { s_maxbytes: max } = inode.i_sb;
  if (length <= 0) throw errno('EINVAL');
  if (start >= max) throw errno('EFBIG');
  if ((info.flags & ~(FIEMAP_FLAG_SYNC | supported)) !== 0) throw errno('EBADR');
  if ((info.flags & FIEMAP_FLAG_SYNC) !== 0 && inode.mappingIfAny !== undefined) {
    await filemap_write_and_wait_range(task, inode.i_mapping, 0, Number.MAX_SAFE_INTEGER);
  }
  return Math.min(length, max - start);
}

/**
 * Report one extent, or only count it (fiemap_fill_next_extent). @returns true where there is room for no more
 */
export function fiemap_fill_next_extent(
  info: FiemapInfo,
  logical: number,
  physical: number,
  length: number,
  flags: number,
): boolean {
  if (info.max > 0) {
    if (info.extents.length >= info.max) return true;
    info.extents.push({ logical, physical, length, flags });
  }
  info.mapped++;
  return (info.max > 0 && info.extents.length >= info.max) || (flags & FIEMAP_EXTENT_LAST) !== 0;
}

/**
 * The ioctl (ioctl_fiemap). @param arg struct fiemap, with room for the extents after it as `fm_extent_count` says
 * @returns struct fiemap with the extents found
 * @throws EOPNOTSUPP where the filesystem has none; EINVAL
 */
export async function ioctl_fiemap(task: Task, inode: Inode, arg: Buffer): Promise<Buffer> {
  const { fiemap } = inode.i_op;
  if (fiemap === undefined) throw errno('EOPNOTSUPP');
  if (arg.length < HEADER) throw errno('EINVAL');
  const start = Number(arg.readBigUInt64LE(0));
  const length = Math.min(Number(arg.readBigUInt64LE(8)), Number.MAX_SAFE_INTEGER);
  const info: FiemapInfo = { flags: arg.readUInt32LE(16), max: arg.readUInt32LE(24), extents: [], mapped: 0 };
  await call(task, inode_operations.fiemap, { inode: inode.i_rwsem }, () => fiemap(task, inode, info, start, length));
  const answer = Buffer.alloc(HEADER + info.extents.length * EXTENT);
  arg.copy(answer, 0, 0, HEADER);
  answer.writeUInt32LE(info.mapped, 20);
  info.extents.forEach((extent, i) => {
    const at = HEADER + i * EXTENT;
    answer.writeBigUInt64LE(BigInt(extent.logical), at);
    answer.writeBigUInt64LE(BigInt(extent.physical), at + 8);
    answer.writeBigUInt64LE(BigInt(extent.length), at + 16);
    answer.writeUInt32LE(extent.flags, at + 40);
  });
  return answer;
}
