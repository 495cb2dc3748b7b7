/** The latch filesystem as a whole: mounting, syncing, unmounting, and inodes that go. */

import type { BlockDevice } from '../block/block-device.js';
import { brelse, sb_bread, sync_blockdev } from '../block/buffer-cache.js';
import { d_make_root } from '../fs/dcache-alias.js';
import type { Inode } from '../fs/inode.js';
import type { export_operations, super_operations } from '../fs/operations.js';
import type { FileSystemType } from '../fs/super.js';
import { SB_POSIXACL, SB_RDONLY, type SuperBlock } from '../fs/super-block.js';
import { truncate_inode_pages_final } from '../mm/truncate.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { MAX_LOGICAL } from './extents.js';
import { BLOCK_SIZE, INODE_SIZE, INODES_PER_BLOCK, LATCH_MAGIC, MAX_FILE_BYTES, ROOT_INO } from './format/layout.js';
import { decodeSuper } from './format/superblock.js';
import { flushDevice } from './fsync.js';
import { infoOf, LatchInfo, with_handle } from './info.js';
import { hasExtents, LatchInode, latch_iget, latchInode, writeInode } from './inode.js';
import type { Handle } from './journal/types.js';
import { freeBlocks } from './truncate.js';
import { freeXattrs, latch_xattr_handlers } from './xattr.js';

/** The last reference is gone: an inode without a name gives back its blocks and its number. */
async function evict_inode(task: Task, given: Inode): Promise<void> {
  const inode = latchInode(given);
  const mapping = inode.mappingIfAny;
  if (mapping !== undefined) await truncate_inode_pages_final(task, mapping);
  if (inode.i_nlink > 0) return;
  const info = infoOf(inode.i_sb);
  await with_handle(task, info, (handle) => freeInode(task, handle, info, inode));
}

async function freeInode(task: Task, handle: Handle, info: LatchInfo, inode: LatchInode): Promise<void> {
  if (hasExtents(inode)) await freeBlocks(task, handle, inode, 0, MAX_LOGICAL);
  await freeXattrs(task, handle, inode);
  const bh = await sb_bread(task, info.bdev, Math.floor(inode.i_ino / INODES_PER_BLOCK));
  const at = (inode.i_ino % INODES_PER_BLOCK) * INODE_SIZE;
  await handle.get_write_access(task, bh);
  bh.b_data.fill(0, at, at + INODE_SIZE);
  handle.dirty_metadata(task, bh);
  brelse(bh);
  await info.alloc.freeInode(task, handle, inode.i_ino);
}

const latch_super_operations: super_operations = {
  alloc_inode: (sb) => new LatchInode(sb),
  write_inode: (task, inode) => {
    const info = infoOf(inode.i_sb);
    return with_handle(task, info, (handle) => writeInode(task, handle, info, latchInode(inode)));
  },
  evict_inode,
  sync_fs: (task, sb) => flushDevice(task, infoOf(sb)),
  put_super: async (task, sb) => {
    const info = infoOf(sb);
    if ((sb.s_flags & SB_RDONLY) !== 0) return;
    await sync_blockdev(task, info.bdev);
    info.super.clean = true;
    await flushDevice(task, info);
  },
  statfs: (_task, dentry) => {
    const { super: disk } = infoOf(dentry.d_sb);
    return {
      f_type: LATCH_MAGIC,
      f_bsize: BLOCK_SIZE,
      f_frsize: BLOCK_SIZE,
      f_blocks: disk.blocks,
      f_bfree: disk.freeBlocks,
      f_bavail: disk.freeBlocks,
      f_files: disk.inodes + disk.freeBlocks * INODES_PER_BLOCK,
      f_ffree: disk.freeBlocks * INODES_PER_BLOCK,
      f_namelen: 255,
      f_fsid: disk.uuid.readUInt32LE(0),
      f_flags: 0,
    };
  },
};

const latch_export_operations: export_operations = {
  get_inode: (task, sb, ino) => latch_iget(task, infoOf(sb), ino),
  get_parent: (task, child) => latch_iget(task, infoOf(child.i_sb), latchInode(child).parent),
  get_name: async (task, parent, child) => {
    let found: string | undefined;
    await latchInode(parent).directory.list(task, 0, (name, ino) => {
      if (ino === child.i_ino) found = name;
      return found === undefined;
    });
    if (found === undefined) throw errno('ESTALE');
    return found;
  },
};

/** @throws FormatError where the device holds nothing that can be mounted */
async function fill_super(task: Task, sb: SuperBlock, bdev: BlockDevice): Promise<void> {
  const bh = await sb_bread(task, bdev, 0);
  const disk = decodeSuper(bh.b_data, bdev.name, Math.floor(bdev.size / BLOCK_SIZE));
  brelse(bh);
  const info = new LatchInfo(sb, bdev, disk);
  sb.s_fs_info = info;
  sb.s_magic = LATCH_MAGIC;
  sb.s_blocksize = BLOCK_SIZE;
  sb.s_maxbytes = MAX_FILE_BYTES;
  sb.s_op = latch_super_operations;
  sb.s_export_op = latch_export_operations;
  sb.s_xattr = latch_xattr_handlers;
  sb.s_flags |= SB_POSIXACL;
  const root = await latch_iget(task, info, ROOT_INO);
  sb.s_root = d_make_root(task, root);
  if ((sb.s_flags & SB_RDONLY) !== 0) return;
  disk.clean = false;
  disk.mounts++;
  await flushDevice(task, info);
}

export const latch_fs_type: FileSystemType = { name: 'latch', fill_super };
