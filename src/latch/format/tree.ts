/**
 * A node of a B+tree on the device: one layout for the extents of a file, the entries of a directory and extended attributes. The root of a tree
 * is a body only, somewhere inside another structure (an inode's area, an xattr block); every other node is a block:
 *
 *     0  4  CRC-32 of bytes 4 to 4095, seeded with the CRC-32 of UUID, inode and generation (see checksumSeed); anything where blocks have none
 *     4  4  magic "LTRE"
 *     8  8  inode that the tree belongs to
 *    16  4  the number of this block
 *    20  4  reserved, 0
 *    24  n  body
 *
 * A body has slots growing up and records growing down:
 *
 *     0  1  level: 0 for a leaf, otherwise one more than its children's
 *     1  1  kind of tree: 1 extents, 2 directory, 3 extended attributes
 *     2  2  records
 *     4  2  where the records begin, from the body's start: with the lowest, or with what a removed one has left
 *     6  2  bytes of removed records before and between the others
 *     8 2n  slots: where each record begins, in the order of the keys, which are unique
 *
 * A record begins with its key of 4 or 8 bytes, as the kind says. In an inner node the block of a child (4 bytes) follows: the child holds the keys
 * from this one on up to the next record's. The first key of an inner node equals the one by which its parent knows it, and is 0 in the root. Leaf
 * records are described where they are made: extents.ts, dir.ts, xattr.ts.
 */
import { crc32 } from 'node:zlib';

export const NODE_MAGIC = 0x4552544c;
/** Bytes before the body in a block. */
export const NODE_HEAD = 24;
/** Bytes before the slots in a body. */
export const BODY_HEAD = 8;
/** Bytes of a slot. */
export const SLOT = 2;
/** Bytes of a child's number in an inner node. */
export const CHILD = 4;

export const KIND_EXTENTS = 1;
export const KIND_DIRECTORY = 2;
export const KIND_XATTR = 3;

/**
 * What the checksums of an inode's own blocks begin with, so that a block of another filesystem, inode, or former life of the inode is not taken for
 * one of its own.
 */
export function checksumSeed(uuid: Buffer, ino: number, generation: number): number {
  const b = Buffer.alloc(12);
  b.writeUIntLE(ino, 0, 6);
  b.writeUInt32LE(generation >>> 0, 8);
  return crc32(b, crc32(uuid));
}

/** Make a body the root of an empty tree. */
export function emptyRoot(body: Buffer, kind: number): void {
  body.fill(0);
  body[1] = kind;
  body.writeUInt16LE(body.length, 4);
}
