/**
 * Where things are on a latch device. Blocks of 4096 bytes, integers little-endian. The device is cut into groups of 32,768 blocks (128 MiB):
 *
 *     block 0 of a group   the superblock (group 0), or a copy of it (other groups)
 *     block 1 of a group   block bitmap: bit n says that block n of the group is in use
 *     block 2 of a group   inode bitmap: bit n says that block n of the group holds inodes
 *
 * A bitmap of zeroes means that nothing but these three blocks is in use, so that mkfs need not write the groups of a large device. An inode's number is its
 * block * 16 + its slot: where it lies follows from its number, and a block of inodes is taken and given back like any other.
 */
export const BLOCK_SIZE = 4096;
export const GROUP_BLOCKS = 32768;
export const BLOCK_BITMAP = 1;
export const INODE_BITMAP = 2;
/** Blocks at the head of a group that are never free. */
export const GROUP_HEAD = 3;
export const INODE_SIZE = 256;
export const INODES_PER_BLOCK = BLOCK_SIZE / INODE_SIZE;
/** The first inode of the first block behind group 0's head. */
export const ROOT_INO = GROUP_HEAD * INODES_PER_BLOCK;
/** The smallest device: a group's head, the root's inode, and room for something. */
export const MIN_BYTES = 1 << 20;
/** Extents address 2^32 blocks of a file. */
export const MAX_FILE_BYTES = 2 ** 32 * BLOCK_SIZE - BLOCK_SIZE;
export const LATCH_MAGIC = 0x6c617463;
