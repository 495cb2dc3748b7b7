/** The descriptor of a group, at byte 2048 of its block 0. */
import { crc32 } from 'node:zlib';
import { BLOCK_SIZE, GROUP_HEAD } from './layout.js';

/** Where it begins in the block, in bytes. */
export const GROUP_OFFSET = 2048;
const SIZE = 64;
/** Where what is reserved begins in it, in bytes. */
export const GROUP_RESERVED = 24;
const MAGIC = 0x5052474c;

/**
 *     0  4  magic "LGRP"; 0 where the group was never used, and everything else is 0 then
 *     4  4  CRC-32 of bytes 8 to 63, seeded with that of the UUID and of the group's number (4 bytes)
 *     8  4  free blocks of the group
 *    12  4  CRC-32 of the block bitmap, seeded likewise
 *    16  4  CRC-32 of the inode bitmap
 *    20  4  CRC-32 of the room bitmap
 *    24 40  reserved, 0
 */
export interface GroupDescriptor {
  freeBlocks: number;
  blockBitmap: number;
  inodeBitmap: number;
  roomBitmap: number;
}

/** What the checksums of a group begin with. */
export function groupSeed(uuid: Buffer, group: number): number {
  const b = Buffer.alloc(4);
  b.writeUInt32LE(group);
  return crc32(b, crc32(uuid));
}

/** @param block block 0 of the group; the superblock in it is left alone */
export function encodeGroup(block: Buffer, seed: number, group: GroupDescriptor): void {
  const b = block.subarray(GROUP_OFFSET, GROUP_OFFSET + SIZE);
  b.fill(0);
  b.writeUInt32LE(MAGIC, 0);
  b.writeUInt32LE(group.freeBlocks, 8);
  b.writeUInt32LE(group.blockBitmap, 12);
  b.writeUInt32LE(group.inodeBitmap, 16);
  b.writeUInt32LE(group.roomBitmap, 20);
  b.writeUInt32LE(crc32(b.subarray(8), seed), 4);
}

/**
 * @param size blocks of the group
 * @returns undefined for a group that was never used; what is wrong with a damaged one
 */
export function decodeGroup(block: Buffer, seed: number, size: number): GroupDescriptor | undefined | string {
  const b = block.subarray(GROUP_OFFSET, GROUP_OFFSET + SIZE);
  if (b.readUInt32LE(0) === 0) {
    return b.every((byte) => byte === 0) ? undefined : 'the descriptor has no magic and is not empty';
  }
  if (b.readUInt32LE(0) !== MAGIC) return 'the descriptor has a wrong magic';
  if (b.readUInt32LE(4) !== crc32(b.subarray(8), seed)) return "the descriptor's checksum is wrong";
  const group = rawGroup(block);
  const { freeBlocks } = group;
  return freeBlocks > size - GROUP_HEAD ? `the descriptor says that ${freeBlocks} of ${size} blocks are free` : group;
}

/** What the fields of a descriptor hold, be it damaged or not. */
export function rawGroup(block: Buffer): GroupDescriptor {
  const b = block.subarray(GROUP_OFFSET, GROUP_OFFSET + SIZE);
  return {
    freeBlocks: b.readUInt32LE(8),
    blockBitmap: b.readUInt32LE(12),
    inodeBitmap: b.readUInt32LE(16),
    roomBitmap: b.readUInt32LE(20),
  };
}

/** The block bitmap of a group in which nothing but the head is in use. */
export function emptyBitmap(): Buffer {
  const bits = Buffer.alloc(BLOCK_SIZE);
  bits[0] = (1 << GROUP_HEAD) - 1;
  return bits;
}
