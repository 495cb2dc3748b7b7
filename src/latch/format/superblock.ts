/** The superblock of a latch device, at byte 1024 of block 0. It lies in one sector, which a device writes whole or not at all. */
import { crc32 } from 'node:zlib';
import { GROUP_BLOCKS, groupsOf } from './layout.js';

/** Where it begins, in bytes. */
export const SUPER_OFFSET = 1024;
const SIZE = 256;
/** The most bytes of a label. */
export const LABEL_BYTES = 16;
const MAGIC = 'LATCHFS1';
export const VERSION = 2;
/** Feature: metadata goes through a journal, whose place is in the superblock. */
export const INCOMPAT_JOURNAL = 1;
/** Feature: bitmaps, inodes, and the blocks of trees have checksums that must be right. */
export const INCOMPAT_CSUM = 2;
/** Feature: there may be directories with FS_CASEFOLD_FL, whose entries are hashed without regard to case. */
export const INCOMPAT_CASEFOLD = 4;
/** Features that this latchfs knows; a device with others is refused. */
export const KNOWN_INCOMPAT = INCOMPAT_JOURNAL | INCOMPAT_CSUM | INCOMPAT_CASEFOLD;
/** Feature that others may ignore: the blocks of inodes are counted. Who does not know it drops it with the count. */
export const COMPAT_INODE_BLOCKS = 1;
/** Another one: in `copyBlock` there is a copy of the superblock, for fsck. What changes all the time is in it as mkfs has left it. */
export const COMPAT_COPY = 2;
/** Another one: what each user and group has is counted, in files that the superblock names; where it names none, the next mount makes them. */
export const COMPAT_QUOTA = 4;
/** Another one: what is in use was changed past the quota files: the next mount counts anew. */
export const COMPAT_RECOUNT = 8;
/** Those that this latchfs knows. */
export const KNOWN_COMPAT = COMPAT_INODE_BLOCKS | COMPAT_COPY | COMPAT_QUOTA | COMPAT_RECOUNT;

/**
 *     0  8  magic "LATCHFS1"            48  8  first inode of the orphan list, 0 for none
 *     8  4  CRC-32 of bytes 12 to 255   56  4  generation for the next inode
 *    12  4  version                     60  4  mounts so far
 *    16  4  features, incompatible      64 16  UUID
 *    20  4  state: 1 clean, 0 mounted   80 16  label, padded with NUL
 *    24  8  blocks on the device        96  4  first block of the journal, 0 for none
 *    32  8  free blocks                100  4  blocks of the journal
 *    40  8  inodes in use              104  8  key of the hash of names
 *   112  8  quota file of users: inode 120  8  of groups
 *   128  8  of projects
 *   136  4  features, compatible       140  4  blocks of inodes
 *   144 112 reserved, 0
 *
 * The orphan list: inodes without a name that were open, and files whose truncation was under way. It goes on in each inode (format/inode.ts).
 */
export interface Superblock {
  readonly version: number;
  readonly incompat: number;
  compat: number;
  clean: boolean;
  readonly blocks: number;
  freeBlocks: number;
  inodes: number;
  /** Only with COMPAT_INODE_BLOCKS. */
  inodeBlocks: number;
  orphan: number;
  generation: number;
  mounts: number;
  readonly uuid: Buffer;
  /** The filesystem's name, a byte a character. */
  label: string;
  /** 8 bytes that nobody can guess. */
  readonly hashKey: Buffer;
  /** The inodes of the quota files, by type of quota; 0 for none. No directory names them. */
  readonly quotaInodes: [number, number, number];
  readonly journalFirst: number;
  readonly journalLength: number;
}

/** A device that holds no filesystem that we can use: one line that says why, and the remedy. */
export class FormatError extends Error {}

/** Write a superblock, with its checksum, into its block. */
export function encodeSuper(block: Buffer, sb: Superblock): void {
  const b = block.subarray(SUPER_OFFSET, SUPER_OFFSET + SIZE);
  b.fill(0);
  b.write(MAGIC, 0, 'latin1');
  b.writeUInt32LE(sb.version, 12);
  b.writeUInt32LE(sb.incompat, 16);
  b.writeUInt32LE(sb.clean ? 1 : 0, 20);
  b.writeBigUInt64LE(BigInt(sb.blocks), 24);
  b.writeBigUInt64LE(BigInt(sb.freeBlocks), 32);
  b.writeBigUInt64LE(BigInt(sb.inodes), 40);
  b.writeBigUInt64LE(BigInt(sb.orphan), 48);
  b.writeUInt32LE(sb.generation >>> 0, 56);
  b.writeUInt32LE(sb.mounts >>> 0, 60);
  sb.uuid.copy(b, 64, 0, 16);
  b.write(sb.label.slice(0, LABEL_BYTES), 80, 'latin1');
  b.writeUInt32LE(sb.journalFirst, 96);
  b.writeUInt32LE(sb.journalLength, 100);
  sb.hashKey.copy(b, 104, 0, 8);
  for (const [type, ino] of sb.quotaInodes.entries()) b.writeBigUInt64LE(BigInt(ino), 112 + 8 * type);
  b.writeUInt32LE(sb.compat >>> 0, 136);
  b.writeUInt32LE(sb.inodeBlocks, 140);
  b.writeUInt32LE(crc32(b.subarray(12)), 8);
}

/**
 * @param name the device, for messages
 * @param deviceBlocks how many blocks it really has
 * @throws FormatError: not latchfs, wrong checksum, newer format, truncated
 */
export function decodeSuper(block: Buffer, name: string, deviceBlocks: number): Superblock {
  const b = block.subarray(SUPER_OFFSET, SUPER_OFFSET + SIZE);
  if (b.toString('latin1', 0, 8) !== MAGIC) {
    throw new FormatError(`${name} holds no latchfs; make one with: latchfs mkfs ${name}`);
  }
  const version = b.readUInt32LE(12);
  const incompat = b.readUInt32LE(16);
  if (version > VERSION || (incompat & ~KNOWN_INCOMPAT) !== 0) {
    throw new FormatError(
      `${name} has a newer format (version ${version}, features ${incompat}): it needs a newer latchfs`,
    );
  }
  if (version < VERSION) {
    throw new FormatError(`${name} has the format of an early latchfs (version ${version}): make it anew`);
  }
  if (crc32(b.subarray(12)) !== b.readUInt32LE(8)) {
    throw new FormatError(
      `${name}: the superblock's checksum is wrong; repair the image with: latchfs fsck -y ${name}`,
    );
  }
  const blocks = Number(b.readBigUInt64LE(24));
  if (blocks > deviceBlocks) {
    throw new FormatError(
      `${name} is truncated: ${deviceBlocks} blocks of ${blocks} are there; restore it from a copy`,
    );
  }
  return fieldsOf(block);
}

/** What the fields of a superblock hold, be it damaged or not. */
export function fieldsOf(block: Buffer): Superblock {
  const b = block.subarray(SUPER_OFFSET, SUPER_OFFSET + SIZE);
  return {
    version: b.readUInt32LE(12),
    incompat: b.readUInt32LE(16),
    blocks: Number(b.readBigUInt64LE(24)),
    compat: b.readUInt32LE(136),
    clean: b.readUInt32LE(20) === 1,
    freeBlocks: Number(b.readBigUInt64LE(32)),
    inodes: Number(b.readBigUInt64LE(40)),
    inodeBlocks: b.readUInt32LE(140),
    orphan: Number(b.readBigUInt64LE(48)),
    generation: b.readUInt32LE(56),
    mounts: b.readUInt32LE(60),
    uuid: Buffer.from(b.subarray(64, 80)),
    label: b.toString('latin1', 80, 96).replace(/\0+$/, ''),
    journalFirst: b.readUInt32LE(96),
    journalLength: b.readUInt32LE(100),
    hashKey: Buffer.from(b.subarray(104, 112)),
    quotaInodes: [Number(b.readBigUInt64LE(112)), Number(b.readBigUInt64LE(120)), Number(b.readBigUInt64LE(128))],
  };
}

/** Whether the checksum of a superblock is right, whatever its magic. */
export function superIsSealed(block: Buffer): boolean {
  const b = block.subarray(SUPER_OFFSET, SUPER_OFFSET + SIZE);
  return crc32(b.subarray(12)) === b.readUInt32LE(8);
}

/** The block with the copy: the first one of the second group; where there is none, the last one of the first, which is in use for that. */
export function copyBlock(blocks: number): number {
  return groupsOf(blocks) > 1 ? GROUP_BLOCKS : Math.min(blocks, GROUP_BLOCKS) - 1;
}
