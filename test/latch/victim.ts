/** A copy of an image that is damaged in one place, with its checksums right. */
import { crc32 } from 'node:zlib';
import { decodeGroup, encodeGroup, type GroupDescriptor, groupSeed } from '../../src/latch/format/group.js';
import {
  areaOf,
  type DiskInode,
  decodeInode,
  encodeInode,
  inodeSeed,
  sealInode,
} from '../../src/latch/format/inode.js';
import { BLOCK_BITMAP, BLOCK_SIZE, INODE_BITMAP, INODE_SIZE, ROOM_BITMAP } from '../../src/latch/format/layout.js';
import { decodeSuper, encodeSuper, type Superblock } from '../../src/latch/format/superblock.js';
import { checksumSeed } from '../../src/latch/format/tree.js';

export class Victim {
  readonly image: Buffer;

  constructor(image: Buffer) {
    this.image = Buffer.from(image);
  }

  block(n: number): Buffer {
    return this.image.subarray(n * BLOCK_SIZE, (n + 1) * BLOCK_SIZE);
  }

  get super(): Superblock {
    return decodeSuper(this.block(0), 'image', this.image.length / BLOCK_SIZE);
  }

  editSuper(change: Partial<Superblock>): void {
    encodeSuper(this.block(0), { ...this.super, ...change });
  }

  bytesOf(ino: number): Buffer {
    return this.image.subarray(ino * INODE_SIZE, (ino + 1) * INODE_SIZE);
  }

  inode(ino: number): DiskInode {
    return decodeInode(this.bytesOf(ino));
  }

  /** @param area changes the inode's area */
  editInode(ino: number, change: Partial<DiskInode>, area?: (area: Buffer) => void): void {
    const bytes = this.bytesOf(ino);
    encodeInode(bytes, { ...decodeInode(bytes), ...change });
    area?.(areaOf(bytes));
    this.sealInode(ino);
  }

  /** Give an inode its checksum. */
  sealInode(ino: number): void {
    sealInode(this.bytesOf(ino), inodeSeed(this.super.uuid, ino));
  }

  /** Change a bitmap, its checksum, and what else the descriptor says. */
  editGroup(which: number, change: (bits: Buffer, group: GroupDescriptor) => void): void {
    const seed = groupSeed(this.super.uuid, 0);
    const group = decodeGroup(this.block(0), seed, this.image.length / BLOCK_SIZE);
    if (group === undefined || typeof group === 'string') throw new Error('no descriptor');
    change(this.block(which), group);
    const sum = crc32(this.block(which), seed);
    if (which === BLOCK_BITMAP) group.blockBitmap = sum;
    else if (which === INODE_BITMAP) group.inodeBitmap = sum;
    else if (which === ROOM_BITMAP) group.roomBitmap = sum;
    encodeGroup(this.block(0), seed, group);
  }

  /** Give a block of an inode's tree its checksum. */
  sealNode(block: number, ino: number): void {
    const bytes = this.block(block);
    bytes.writeUInt32LE(crc32(bytes.subarray(4), checksumSeed(this.super.uuid, ino, this.inode(ino).generation)), 0);
  }
}

export function flip(bits: Buffer, n: number): void {
  bits[n >>> 3] = (bits[n >>> 3] ?? 0) ^ (1 << (n & 7));
}

/** The physical block of the first extent in an inode's area. */
export function firstExtent(v: Victim, ino: number): number {
  const area = areaOf(v.bytesOf(ino));
  return area.readUInt32LE(area.readUInt16LE(8) + 8);
}

/** The first child of the tree's root in an inode's area. @param keyBytes of the tree */
export function firstNode(v: Victim, ino: number, keyBytes: number): number {
  const area = areaOf(v.bytesOf(ino));
  return area.readUInt32LE(area.readUInt16LE(8) + keyBytes);
}
