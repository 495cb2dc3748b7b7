/** An inode of 256 bytes on the device. */
import { crc32 } from 'node:zlib';
import type { Timespec } from '../../sched/time.js';

/** A run of blocks of a file. */
export interface Extent {
  /** First block in the file. */
  logical: number;
  /** First block on the device. */
  physical: number;
  /** Blocks. */
  length: number;
  /** Preallocated: reads as zeroes until it is written. */
  unwritten: boolean;
}

/** Bytes of an inode's area: the longest symlink target that fits, and the root of a tree. */
export const AREA_SIZE = 112;
/** Bytes of an extent: see extents.ts. */
export const EXTENT_SIZE = 12;
const UNWRITTEN = 0x80000000;

/**
 *      0  4  mode (0: the slot is free)   64 12  mtime
 *      4  4  uid                          76 12  ctime
 *      8  4  gid                          88 12  birth time
 *     12  4  links                       100  4  xattr block, 0 for none
 *     16  8  size in bytes               104  8  parent directory (directories)
 *     24  8  blocks in use (512 bytes)   112  8  next inode of the orphan list
 *     32  4  generation                  120  8  reserved
 *     36  4  flags (FS_*_FL)             128 12  atime
 *     40  4  rdev                        140  4  project
 *     44  4  CRC-32 of the inode         144 112 area
 *     48 16  reserved
 *
 * The checksum is over the whole inode with this field zero, seeded with that of the UUID and of the inode's number (8 bytes); 0 where the filesystem
 * has no checksums. The size of a file is what is safe on the device: data that are still to be written there may lie beyond it.
 *
 * A time is 8 bytes of seconds (signed) and 4 of nanoseconds. The area is the root of a tree (format/tree.ts): of extents for a file and a symlink longer
 * than the area, of entries for a directory; a shorter symlink's target; zeroes for others. Blocks in use are those of data, trees and attributes.
 */
export interface DiskInode {
  mode: number;
  uid: number;
  gid: number;
  /** The project that it belongs to. */
  projid: number;
  nlink: number;
  size: number;
  blocks: number;
  generation: number;
  flags: number;
  rdev: number;
  mtime: Timespec;
  ctime: Timespec;
  btime: Timespec;
  atime: Timespec;
  xattrBlock: number;
  parent: number;
  nextOrphan: number;
}

const TIMES = { mtime: 64, ctime: 76, btime: 88, atime: 128 } as const;
const PROJECT = 140;
const AREA = 144;

function putTime(b: Buffer, at: number, time: Timespec): void {
  b.writeUInt32LE(time.sec >>> 0, at);
  b.writeInt32LE(Math.floor(time.sec / 2 ** 32), at + 4);
  b.writeUInt32LE(time.nsec, at + 8);
}

function getTime(b: Buffer, at: number): Timespec {
  return { sec: b.readInt32LE(at + 4) * 2 ** 32 + b.readUInt32LE(at), nsec: b.readUInt32LE(at + 8) };
}

function put48(b: Buffer, at: number, value: number): void {
  b.writeUIntLE(value, at, 6);
  b.writeUInt16LE(0, at + 6);
}

/** @param b the inode's 256 bytes; the area behind the fixed fields is left alone */
export function encodeInode(b: Buffer, inode: DiskInode): void {
  b.fill(0, 0, AREA);
  b.writeUInt32LE(inode.mode, 0);
  b.writeUInt32LE(inode.uid, 4);
  b.writeUInt32LE(inode.gid, 8);
  b.writeUInt32LE(inode.nlink, 12);
  put48(b, 16, inode.size % 2 ** 48);
  b.writeUInt16LE(Math.floor(inode.size / 2 ** 48), 22);
  put48(b, 24, inode.blocks);
  b.writeUInt32LE(inode.generation >>> 0, 32);
  b.writeUInt32LE(inode.flags >>> 0, 36);
  b.writeUInt32LE(inode.rdev >>> 0, 40);
  for (const name of ['mtime', 'ctime', 'btime', 'atime'] as const) putTime(b, TIMES[name], inode[name]);
  b.writeUInt32LE(inode.xattrBlock, 100);
  put48(b, 104, inode.parent);
  put48(b, 112, inode.nextOrphan);
  b.writeUInt32LE(inode.projid, PROJECT);
}

export function decodeInode(b: Buffer): DiskInode {
  return {
    mode: b.readUInt32LE(0),
    uid: b.readUInt32LE(4),
    gid: b.readUInt32LE(8),
    projid: b.readUInt32LE(PROJECT),
    nlink: b.readUInt32LE(12),
    size: b.readUIntLE(16, 6) + b.readUInt16LE(22) * 2 ** 48,
    blocks: b.readUIntLE(24, 6),
    generation: b.readUInt32LE(32),
    flags: b.readUInt32LE(36),
    rdev: b.readUInt32LE(40),
    mtime: getTime(b, TIMES.mtime),
    ctime: getTime(b, TIMES.ctime),
    btime: getTime(b, TIMES.btime),
    atime: getTime(b, TIMES.atime),
    xattrBlock: b.readUInt32LE(100),
    parent: b.readUIntLE(104, 6),
    nextOrphan: b.readUIntLE(112, 6),
  };
}

/** A directory of root's without entries. @param permissions bits of its mode */
export function emptyDirectory(parent: number, permissions: number, generation: number, now: Timespec): DiskInode {
  return {
    mode: 0o040000 | permissions,
    uid: 0,
    gid: 0,
    projid: 0,
    nlink: 2,
    size: 0,
    blocks: 0,
    generation,
    flags: 0,
    rdev: 0,
    mtime: now,
    ctime: now,
    btime: now,
    atime: now,
    xattrBlock: 0,
    parent,
    nextOrphan: 0,
  };
}

/** The area in an inode's bytes. */
export function areaOf(b: Buffer): Buffer {
  return b.subarray(AREA, AREA + AREA_SIZE);
}

export function encodeExtent(b: Buffer, at: number, extent: Extent): void {
  b.writeUInt32LE(extent.logical, at);
  b.writeUInt32LE((extent.length | (extent.unwritten ? UNWRITTEN : 0)) >>> 0, at + 4);
  b.writeUInt32LE(extent.physical, at + 8);
}

export function decodeExtent(b: Buffer, at: number): Extent {
  const length = b.readUInt32LE(at + 4);
  return {
    logical: b.readUInt32LE(at),
    length: length & 0x7fffffff,
    physical: b.readUInt32LE(at + 8),
    unwritten: length >= UNWRITTEN,
  };
}

/** What the checksum of an inode begins with. */
export function inodeSeed(uuid: Buffer, ino: number): number {
  const b = Buffer.alloc(8);
  put48(b, 0, ino);
  return crc32(b, crc32(uuid));
}

const CHECKSUM = 44;

/** Fill in the checksum of an inode that is complete. */
export function sealInode(b: Buffer, seed: number): void {
  b.writeUInt32LE(0, CHECKSUM);
  b.writeUInt32LE(crc32(b, seed), CHECKSUM);
}

/** Whether the checksum of an inode is right. */
export function inodeIsSealed(b: Buffer, seed: number): boolean {
  const stored = b.readUInt32LE(CHECKSUM);
  b.writeUInt32LE(0, CHECKSUM);
  const right = crc32(b, seed) === stored;
  b.writeUInt32LE(stored, CHECKSUM);
  return right;
}
