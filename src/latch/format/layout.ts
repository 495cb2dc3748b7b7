/**
 * Where things are on a latch device. Blocks of 4096 bytes, integers little-endian. The device is cut into groups of 32,768 blocks (128 MiB):
 *
 *     block 0 of a group   the superblock at byte 1024 (group 0, and a copy in group 1), and the group's descriptor at byte 2048 (format/group.ts)
 *     block 1 of a group   block bitmap: bit n says that block n of the group is in use
 *     block 2 of a group   inode bitmap: bit n says that block n of the group holds inodes
 *     block 3 of a group   room bitmap: bit n says that block n of the group holds inodes and has a slot that is free
 *
 * A group whose descriptor is all zeroes was never used: nothing but these four blocks is in use there, and its bitmaps are not read. So mkfs need not
 * write the groups of a large device. In group 0 the block of the root's inode and the journal follow the head; where
 * there is no other group, its last block holds the copy of the superblock.
 *
 * An inode's number is its block * 16 + its slot: where it lies follows from its number, and a block of inodes is taken and given back like any other. A
 * slot whose mode is 0 is free.
 */
export const BLOCK_SIZE = 4096;
export const GROUP_BLOCKS = 32768;
export const BLOCK_BITMAP = 1;
export const INODE_BITMAP = 2;
export const ROOM_BITMAP = 3;
/** Blocks at the head of a group that are never free. */
export const GROUP_HEAD = 4;
export const INODE_SIZE = 256;
export const INODES_PER_BLOCK = BLOCK_SIZE / INODE_SIZE;
/** The block of the root's inode. */
export const ROOT_BLOCK = GROUP_HEAD;
/** The first inode of the first block behind group 0's head. */
export const ROOT_INO = ROOT_BLOCK * INODES_PER_BLOCK;
/** The smallest device without a journal: a group's head, the root's inode, and room for something. */
export const MIN_BYTES = 1 << 20;
/** The smallest device with one. */
export const MIN_JOURNALED_BYTES = 4 << 20;
/** Extents address 2^32 blocks of a file. */
export const MAX_FILE_BYTES = 2 ** 32 * BLOCK_SIZE - BLOCK_SIZE;
export const LATCH_MAGIC = 0x6c617463;

/** How many groups a device of that many blocks has. A tail that is not longer than a group's head is not used. */
export function groupsOf(blocks: number): number {
  const tail = blocks % GROUP_BLOCKS;
  return Math.floor(blocks / GROUP_BLOCKS) + (tail > GROUP_HEAD ? 1 : 0);
}

/** Blocks of group `group`. */
export function groupSize(blocks: number, group: number): number {
  return Math.min(GROUP_BLOCKS, blocks - group * GROUP_BLOCKS);
}

/** Blocks for the journal of a device: a thirty-second of it, from 1 MiB to 64 MiB. */
export function journalBlocks(blocks: number): number {
  return Math.min(16384, Math.max(256, Math.floor(blocks / 32)));
}
