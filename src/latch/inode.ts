/** Inodes of latch in memory: reading them from the device, and writing them back. */
import { brelse, sb_bread } from '../block/buffer-cache.js';
import { BLOCK_SIZE } from '../block/buffer-head.js';
import { iget_failed, iget_locked, unlock_new_inode } from '../fs/icache.js';
import { I_NEW, Inode, S_APPEND, S_IMMUTABLE, S_NOATIME } from '../fs/inode.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { DirIndex } from './dir.js';
import { dir_inode_operations, dir_operations } from './dir-ops.js';
import { ExtentMap } from './extents.js';
import { file_aops, file_inode_operations, file_operations } from './file.js';
import {
  areaOf,
  decodeExtent,
  decodeInode,
  EXTENT_SIZE,
  type Extent,
  encodeExtent,
  encodeInode,
  INLINE_EXTENTS,
  INLINE_LINK,
} from './format/inode.js';
import { INODE_SIZE, INODES_PER_BLOCK } from './format/layout.js';
import type { LatchInfo } from './info.js';
import type { Handle } from './journal/types.js';
import { special_inode_operations, symlink_inode_operations } from './link-ops.js';

/** Extents in one block of the chain: its first 8 bytes are the next block (u32) and how many extents follow (u32). */
const PER_BLOCK = Math.floor((BLOCK_SIZE - 8) / EXTENT_SIZE);

export class LatchInode extends Inode {
  extents = new ExtentMap();
  /** Blocks that hold extents which do not fit in the inode. */
  extentBlocks: number[] = [];
  /** FS_*_FL. */
  flags = 0;
  xattrBlock = 0;
  /** The directory that a directory is in. */
  parent = 0;
  /** Next in the list of inodes without a name. */
  nextOrphan = 0;
  /** Entries of a directory by name, once it was read. */
  index: DirIndex | undefined;
}

export function latchInode(inode: Inode): LatchInode {
  if (inode instanceof LatchInode) return inode;
  throw errno('EIO', 'an inode of another filesystem');
}

const FS_APPEND_FL = 0x20;
const FS_IMMUTABLE_FL = 0x10;
const FS_NOATIME_FL = 0x80;

/** i_flags as the FS_*_FL say. */
export function applyFlags(inode: LatchInode): void {
  const has = (flag: number, bit: number): number => ((inode.flags & flag) !== 0 ? bit : 0);
  inode.i_flags =
    (inode.i_flags & ~(S_APPEND | S_IMMUTABLE | S_NOATIME)) |
    has(FS_APPEND_FL, S_APPEND) |
    has(FS_IMMUTABLE_FL, S_IMMUTABLE) |
    has(FS_NOATIME_FL, S_NOATIME);
}

/** Give an inode the operations of its type. */
export function setOps(inode: LatchInode): void {
  const type = inode.i_mode & 0o170000;
  if (type === 0o040000) {
    inode.i_op = dir_inode_operations;
    inode.i_fop = dir_operations;
  } else if (type === 0o100000) {
    inode.i_op = file_inode_operations;
    inode.i_fop = file_operations;
    inode.a_ops = file_aops;
  } else if (type === 0o120000) inode.i_op = symlink_inode_operations;
  else inode.i_op = special_inode_operations;
}

/**
 * The inode of that number, with a reference. At once where it is in memory.
 * @throws ESTALE where it is free
 */
export function latch_iget(task: Task, info: LatchInfo, ino: number): Awaitable<LatchInode> {
  return andThen(iget_locked(task, info.sb, ino), (found) => {
    const inode = latchInode(found);
    if ((inode.i_state & I_NEW) === 0) return inode;
    return readInode(task, info, inode);
  });
}

async function readInode(task: Task, info: LatchInfo, inode: LatchInode): Promise<LatchInode> {
  try {
    const block = Math.floor(inode.i_ino / INODES_PER_BLOCK);
    if (!(await info.isInodeBlock(task, block))) throw errno('ESTALE', `inode ${inode.i_ino}`);
    const bh = await sb_bread(task, info.bdev, block);
    const at = (inode.i_ino % INODES_PER_BLOCK) * INODE_SIZE;
    const bytes = Buffer.from(bh.b_data.subarray(at, at + INODE_SIZE));
    brelse(bh);
    const disk = decodeInode(bytes);
    if (disk.mode === 0) throw errno('ESTALE', `inode ${inode.i_ino}`);
    inode.i_mode = disk.mode;
    inode.i_uid = disk.uid;
    inode.i_gid = disk.gid;
    inode.i_nlink = disk.nlink;
    inode.i_size = disk.size;
    inode.i_blocks = disk.blocks;
    inode.i_generation = disk.generation;
    inode.flags = disk.flags;
    inode.i_rdev = disk.rdev;
    inode.i_mtime = disk.mtime;
    inode.i_ctime = disk.ctime;
    inode.i_btime = disk.btime;
    inode.i_atime = disk.atime;
    inode.xattrBlock = disk.xattrBlock;
    inode.parent = disk.parent;
    inode.nextOrphan = disk.nextOrphan;
    applyFlags(inode);
    setOps(inode);
    if ((disk.mode & 0o170000) === 0o120000 && disk.size <= INLINE_LINK) {
      inode.i_link = areaOf(bytes).toString('latin1', 0, disk.size);
    } else await readExtents(task, info, inode, areaOf(bytes), disk.extentCount, disk.extentBlock);
    unlock_new_inode(inode);
    return inode;
  } catch (error) {
    iget_failed(inode);
    throw error;
  }
}

async function readExtents(
  task: Task,
  info: LatchInfo,
  inode: LatchInode,
  area: Buffer,
  count: number,
  chain: number,
): Promise<void> {
  const list: Extent[] = [];
  for (let i = 0; i < Math.min(count, INLINE_EXTENTS); i++) list.push(decodeExtent(area, i * EXTENT_SIZE));
  for (let block = chain; block !== 0 && list.length < count; ) {
    inode.extentBlocks.push(block);
    const bh = await sb_bread(task, info.bdev, block);
    const here = Math.min(bh.b_data.readUInt32LE(4), PER_BLOCK);
    for (let i = 0; i < here; i++) list.push(decodeExtent(bh.b_data, 8 + i * EXTENT_SIZE));
    block = bh.b_data.readUInt32LE(0);
    brelse(bh);
  }
  inode.extents = new ExtentMap(list);
}

/** Put an inode into the block of the device that holds it (->write_inode). @throws ENOSPC for more extent blocks; EIO */
export async function writeInode(task: Task, handle: Handle, info: LatchInfo, inode: LatchInode): Promise<void> {
  const { list } = inode.extents;
  await writeChain(task, handle, info, inode, list.slice(INLINE_EXTENTS));
  const bh = await sb_bread(task, info.bdev, Math.floor(inode.i_ino / INODES_PER_BLOCK));
  await handle.get_write_access(task, bh);
  const at = (inode.i_ino % INODES_PER_BLOCK) * INODE_SIZE;
  const bytes = bh.b_data.subarray(at, at + INODE_SIZE);
  const area = areaOf(bytes);
  const inline = inode.i_link !== undefined && inode.i_link.length <= INLINE_LINK;
  encodeInode(bytes, {
    mode: inode.i_mode,
    uid: inode.i_uid,
    gid: inode.i_gid,
    nlink: inode.i_nlink,
    size: inode.i_size,
    blocks: inode.i_blocks,
    generation: inode.i_generation,
    flags: inode.flags,
    rdev: inode.i_rdev,
    mtime: inode.i_mtime,
    ctime: inode.i_ctime,
    btime: inode.i_btime,
    atime: inode.i_atime,
    xattrBlock: inode.xattrBlock,
    parent: inode.parent,
    nextOrphan: inode.nextOrphan,
    extentCount: inline ? 0 : list.length,
    extentBlock: inode.extentBlocks[0] ?? 0,
  });
  area.fill(0);
  if (inline) area.write(inode.i_link ?? '', 'latin1');
  else for (const [i, extent] of list.slice(0, INLINE_EXTENTS).entries()) encodeExtent(area, i * EXTENT_SIZE, extent);
  handle.dirty_metadata(task, bh);
  brelse(bh);
}

/** Write the extents that do not fit in the inode, into as many blocks as they need. */
async function writeChain(
  task: Task,
  handle: Handle,
  info: LatchInfo,
  inode: LatchInode,
  rest: readonly Extent[],
): Promise<void> {
  const needed = Math.ceil(rest.length / PER_BLOCK);
  while (inode.extentBlocks.length > needed) {
    const block = inode.extentBlocks.pop();
    if (block !== undefined) await info.alloc.free(task, handle, block, 1);
    inode.i_blocks -= 8;
  }
  while (inode.extentBlocks.length < needed) {
    inode.extentBlocks.push((await info.alloc.allocate(task, handle, 1)).start);
    inode.i_blocks += 8;
  }
  for (const [n, block] of inode.extentBlocks.entries()) {
    const here = rest.slice(n * PER_BLOCK, (n + 1) * PER_BLOCK);
    const bh = await sb_bread(task, info.bdev, block);
    await handle.get_write_access(task, bh);
    bh.b_data.writeUInt32LE(inode.extentBlocks[n + 1] ?? 0, 0);
    bh.b_data.writeUInt32LE(here.length, 4);
    for (const [i, extent] of here.entries()) encodeExtent(bh.b_data, 8 + i * EXTENT_SIZE, extent);
    handle.dirty_metadata(task, bh);
    brelse(bh);
  }
}
