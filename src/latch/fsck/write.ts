/** Writing a filesystem as fsck has found that it shall be: first what nothing names yet, then the inodes, then bitmaps and superblock. */

import { crc32 } from 'node:zlib';
import { blkdev_issue_flush } from '../../block/bio.js';
import { sync_blockdev } from '../../block/buffer-writeback.js';
import { encodeGroup } from '../format/group.js';
import { areaOf, encodeInode, inodeSeed, sealInode } from '../format/inode.js';
import {
  BLOCK_BITMAP,
  BLOCK_SIZE,
  GROUP_HEAD,
  INODE_BITMAP,
  INODE_SIZE,
  INODES_PER_BLOCK,
  ROOM_BITMAP,
} from '../format/layout.js';
import { COMPAT_COPY, COMPAT_INODE_BLOCKS, copyBlock, encodeSuper } from '../format/superblock.js';
import { changeBlock, putBlock } from './buffers.js';
import type { FsckContext } from './context.js';
import { type ReadGroup, type RightGroup, rightGroup } from './groups.js';
import { makeTrees } from './make.js';
import type { Seen } from './seen.js';
import type { Space } from './space.js';

/**
 * Write everything that has changed.
 * @throws EIO; ENOSPC where a tree that must be made anew finds no room
 */
export async function writeAll(context: FsckContext, groups: readonly ReadGroup[], space: Space): Promise<void> {
  for (const { from, to } of context.copies) {
    const bytes = await context.read(from, `block ${from}`);
    putBlock(context, to, bytes ?? Buffer.alloc(BLOCK_SIZE));
  }
  for (const seen of context.inodes.values()) await makeTrees(context, seen, space);
  // Power may fail at any time: what inodes name is there before they do, and nobody takes blocks that were still in use.
  await settle(context);
  await writeInodes(context);
  await settle(context);
  let free = 0;
  for (const group of groups) {
    const right = rightGroup(context, group);
    free += right.freeBlocks;
    if (!group.unused || right.freeBlocks < group.size - GROUP_HEAD) await writeGroup(context, right);
  }
  const disk = context.super;
  // The log is empty.
  disk.clean = true;
  disk.freeBlocks = free;
  disk.inodes = context.inodes.size;
  disk.inodeBlocks = context.inodeBlocks.size;
  disk.compat |= COMPAT_INODE_BLOCKS;
  await changeBlock(context, 0, (bytes) => encodeSuper(bytes, disk));
  if ((disk.compat & COMPAT_COPY) !== 0)
    await changeBlock(context, copyBlock(disk.blocks), (bytes) => encodeSuper(bytes, disk));
  await settle(context);
}

async function settle({ task, bdev }: FsckContext): Promise<void> {
  await sync_blockdev(task, bdev);
  await blkdev_issue_flush(task, bdev);
}

async function writeInodes(context: FsckContext): Promise<void> {
  const dirty = new Map<number, Seen[]>();
  const at = (ino: number): Seen[] => {
    const block = Math.floor(ino / INODES_PER_BLOCK);
    const list = dirty.get(block) ?? [];
    dirty.set(block, list);
    return list;
  };
  for (const seen of context.inodes.values()) if (seen.dirty) at(seen.ino).push(seen);
  for (const ino of context.cleared) at(ino);
  for (const block of context.newInodeBlocks) putBlock(context, block, Buffer.alloc(BLOCK_SIZE));
  for (const [block, list] of dirty) {
    await changeBlock(context, block, (bytes) => {
      for (let slot = 0; slot < INODES_PER_BLOCK; slot++) {
        if (context.cleared.has(block * INODES_PER_BLOCK + slot)) slotOf(bytes, slot).fill(0);
      }
      for (const seen of list) writeInode(context, seen, slotOf(bytes, seen.ino % INODES_PER_BLOCK));
    });
  }
}

function slotOf(block: Buffer, slot: number): Buffer {
  return block.subarray(slot * INODE_SIZE, (slot + 1) * INODE_SIZE);
}

function writeInode(context: FsckContext, seen: Seen, bytes: Buffer): void {
  encodeInode(bytes, seen.disk);
  seen.plainArea?.copy(areaOf(bytes));
  if (context.checked) sealInode(bytes, inodeSeed(context.super.uuid, seen.ino));
}

async function writeGroup(context: FsckContext, right: RightGroup): Promise<void> {
  const { group, freeBlocks } = right;
  const { base, seed } = group;
  const sum = (bits: Buffer): number => (context.checked ? crc32(bits, seed) : 0);
  const descriptor = {
    freeBlocks,
    blockBitmap: sum(right.blocks),
    inodeBitmap: sum(right.inodes),
    roomBitmap: sum(right.room),
  };
  putBlock(context, base + BLOCK_BITMAP, right.blocks);
  putBlock(context, base + INODE_BITMAP, right.inodes);
  putBlock(context, base + ROOM_BITMAP, right.room);
  await changeBlock(context, base, (bytes) => encodeGroup(bytes, seed, descriptor));
}
