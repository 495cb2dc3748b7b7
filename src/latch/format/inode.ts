/** An inode of 256 bytes on the device. */
import { crc32 } from 'node:zlib';
import type { Timespec } from '../../sched/time.js';
import { get16, get32, get48, put16, put32, put48 } from './bytes.js';

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
/** Of a file's flags: it has blocks behind its end that were mapped for data which were on their way, and go where these are lost (EXT4_EOFBLOCKS_FL). */
export const EOFBLOCKS_FL = 0x0040_0000;

/**
 *      0  4  mode (0: the slot is free)   64 12  mtime
 *      4  4  uid                          76 12  ctime
 *      8  4  gid                          88 12  birth time
 *     12  4  links                       100  4  xattr block, 0 for none
 *     16  8  size in bytes               104  8  parent (of directories, else 0)
 *     24  8  blocks in use (512 bytes)   112  8  next inode of the orphan list
 *     32  4  generation                  120  8  reserved, 0
 *     36  4  flags (FS_*_FL, EOFBLOCKS)  128 12  atime
 *     40  4  rdev (of devices, else 0)    140  4  project
 *     44  4  CRC-32 of the inode         144 112 area
 *     48 16  reserved, 0
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

const MTIME = 64;
const CTIME = 76;
const BTIME = 88;
const ATIME = 128;
const PROJECT = 140;
/** Where the area begins in an inode's bytes. */
export const AREA = 144;

function putTime(b: Buffer, at: number, time: Timespec): void {
  put32(b, time.sec >>> 0, at);
  put32(b, Math.floor(time.sec / 2 ** 32) >>> 0, at + 4);
  put32(b, time.nsec, at + 8);
}

function getTime(b: Buffer, at: number): Timespec {
  return { sec: (get32(b, at + 4) | 0) * 2 ** 32 + get32(b, at), nsec: get32(b, at + 8) };
}

/** @param b holds the inode's 256 bytes from `at` on; the area behind the fixed fields is left alone */
export function encodeInode(b: Buffer, inode: DiskInode, at = 0): void {
  b.fill(0, at, at + AREA);
  put32(b, inode.mode, at);
  put32(b, inode.uid, at + 4);
  put32(b, inode.gid, at + 8);
  put32(b, inode.nlink, at + 12);
  put48(b, inode.size % 2 ** 48, at + 16);
  put16(b, Math.floor(inode.size / 2 ** 48), at + 22);
  put48(b, inode.blocks, at + 24);
  put32(b, inode.generation >>> 0, at + 32);
  put32(b, inode.flags >>> 0, at + 36);
  put32(b, inode.rdev >>> 0, at + 40);
  putTime(b, at + MTIME, inode.mtime);
  putTime(b, at + CTIME, inode.ctime);
  putTime(b, at + BTIME, inode.btime);
  putTime(b, at + ATIME, inode.atime);
  put32(b, inode.xattrBlock, at + 100);
  put48(b, inode.parent, at + 104);
  put48(b, inode.nextOrphan, at + 112);
  put32(b, inode.projid, at + PROJECT);
}

/** The slot of an inode. */
export function decodeInode(b: Buffer): DiskInode {
  return {
    mode: get32(b, 0),
    uid: get32(b, 4),
    gid: get32(b, 8),
    projid: get32(b, PROJECT),
    nlink: get32(b, 12),
    size: get48(b, 16) + get16(b, 22) * 2 ** 48,
    blocks: get48(b, 24),
    generation: get32(b, 32),
    flags: get32(b, 36),
    rdev: get32(b, 40),
    mtime: getTime(b, MTIME),
    ctime: getTime(b, CTIME),
    btime: getTime(b, BTIME),
    atime: getTime(b, ATIME),
    xattrBlock: get32(b, 100),
    parent: get48(b, 104),
    nextOrphan: get48(b, 112),
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

/** Write an extent at `at`. */
export function encodeExtent(b: Buffer, at: number, extent: Extent): void {
  put32(b, extent.logical, at);
  put32(b, (extent.length | (extent.unwritten ? UNWRITTEN : 0)) >>> 0, at + 4);
  put32(b, extent.physical, at + 8);
}

/** The extent at `at`. */
export function decodeExtent(b: Buffer, at: number): Extent {
  const length = get32(b, at + 4);
  return {
    logical: get32(b, at),
    length: length & 0x7fffffff,
    physical: get32(b, at + 8),
    unwritten: length >= UNWRITTEN,
  };
}

/** What the checksum of an inode begins with. */
export function inodeSeed(uuid: Buffer, ino: number): number {
  const b = Buffer.alloc(8);
  put48(b, ino, 0);
  return crc32(b, crc32(uuid));
}

/** Where the checksum is in an inode's bytes. */
export const CHECKSUM = 44;

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
