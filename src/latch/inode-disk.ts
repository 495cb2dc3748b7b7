/** An inode's fields on the device: taken from there, and put into the block that holds it. */

import { brelse } from '../block/buffer.js';
import { sb_bread } from '../block/buffer-cache.js';
import type { BufferHead } from '../block/buffer-head.js';
import { i_size_init, inode_init } from '../fs/inode.js';
import { type Awaitable, andThen, withCleanup } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import { S_IFMT, S_IFREG } from '../uapi/stat.js';
import { AREA, type DiskInode, EOFBLOCKS_FL, encodeInode, inodeSeed, sealInode } from './format/inode.js';
import { BLOCK_SIZE, INODE_SIZE, INODES_PER_BLOCK } from './format/layout.js';
import type { LatchInfo } from './info.js';
import type { LatchInode } from './inode.js';
import type { Handle } from './journal/types.js';

/** What an inode has room for. */
const MAX_SECTORS = 2 ** 48 - 1;

/** What the checksum of an inode begins with. */
export function seedOf(info: LatchInfo, inode: LatchInode): number {
  inode.seed ??= inodeSeed(info.super.uuid, inode.i_ino);
  return inode.seed;
}

/** The fields of an inode in memory from those on the device. */
export function fillFrom(inode: LatchInode, disk: DiskInode): void {
  const attrs = inode_init(inode);
  attrs.i_mode = disk.mode;
  attrs.i_uid = disk.uid;
  attrs.i_gid = disk.gid;
  inode.i_projid = disk.projid;
  attrs.i_nlink = disk.nlink;
  i_size_init(inode, disk.size);
  inode.i_disksize = disk.size;
  inode.i_blocks = disk.blocks;
  inode.i_generation = disk.generation;
  inode.flags = disk.flags & ~EOFBLOCKS_FL;
  if ((disk.flags & EOFBLOCKS_FL) !== 0 && (disk.mode & S_IFMT) === S_IFREG) inode.eofEnd = Number.POSITIVE_INFINITY;
  inode.i_rdev = disk.rdev;
  inode.i_mtime = disk.mtime;
  inode.i_ctime = disk.ctime;
  inode.i_btime = disk.btime;
  inode.i_atime = disk.atime;
  inode.xattrBlock = disk.xattrBlock;
  inode.parent = disk.parent;
  inode.nextOrphan = disk.nextOrphan;
}

/**
 * Put an inode into the block of the device that holds it, as part of a transaction (ext4_mark_inode_dirty). Costs a credit.
 * @param timesOnly nothing has changed that fdatasync must wait for
 * @throws EIO EROFS
 */
export function writeInode(
  task: Task,
  handle: Handle,
  info: LatchInfo,
  inode: LatchInode,
  timesOnly = false,
): Awaitable<void> {
  const block = Math.floor(inode.i_ino / INODES_PER_BLOCK);
  return andThen(sb_bread(task, info.bdev, block), writeInto, task, handle, info, inode, timesOnly);
}

function writeInto(
  bh: BufferHead,
  task: Task,
  handle: Handle,
  info: LatchInfo,
  inode: LatchInode,
  timesOnly: boolean,
): Awaitable<void> {
  return withCleanup(accessAndWrite, brelse, bh, task, handle, info, inode, timesOnly ? writeTimes : writeAll);
}

type Write = (_may: void, bh: BufferHead, task: Task, handle: Handle, info: LatchInfo, inode: LatchInode) => void;

function accessAndWrite(
  bh: BufferHead,
  task: Task,
  handle: Handle,
  info: LatchInfo,
  inode: LatchInode,
  write: Write,
): Awaitable<void> {
  return andThen(handle.get_write_access(task, bh), write, bh, task, handle, info, inode);
}

function writeTimes(_may: void, bh: BufferHead, task: Task, handle: Handle, info: LatchInfo, inode: LatchInode): void {
  const at = (inode.i_ino % INODES_PER_BLOCK) * INODE_SIZE;
  fillInode(info, inode, bh.b_data, at);
  handle.dirty_metadata(task, bh);
  inode.i_sync_tid = handle.tid;
}

function writeAll(may: void, bh: BufferHead, task: Task, handle: Handle, info: LatchInfo, inode: LatchInode): void {
  writeTimes(may, bh, task, handle, info, inode);
  inode.i_datasync_tid = handle.tid;
}

/** @param at where the inode begins in `bytes` */
function fillInode(info: LatchInfo, inode: LatchInode, bytes: Buffer, at: number): void {
  const disk: DiskInode = {
    mode: inode.i_mode,
    uid: inode.i_uid,
    gid: inode.i_gid,
    projid: inode.i_projid,
    nlink: inode.i_nlink,
    size: (inode.i_mode & S_IFMT) === S_IFREG ? inode.i_disksize : inode.i_size,
    // A damaged inode may have as many as it can say.
    blocks: Math.min(inode.i_blocks - inode.delayed * (BLOCK_SIZE / 512), MAX_SECTORS),
    generation: inode.i_generation,
    flags: inode.has_eof_blocks ? inode.flags | EOFBLOCKS_FL : inode.flags,
    rdev: inode.i_rdev,
    mtime: inode.i_mtime,
    ctime: inode.i_ctime,
    btime: inode.i_btime,
    atime: inode.i_atime,
    xattrBlock: inode.xattrBlock,
    parent: inode.parent,
    nextOrphan: inode.nextOrphan,
  };
  encodeInode(bytes, disk, at);
  inode.writeArea(bytes, at + AREA);
  if (info.checked) sealInode(bytes.subarray(at, at + INODE_SIZE), seedOf(info, inode));
}
