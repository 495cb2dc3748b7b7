/**
 * Where an inode's extended attributes are: one block that the inode names, which is the root of a B+tree by the hash of the name, so that one
 * attribute costs a block and many are still found fast.
 *
 *     0  4  CRC-32 of bytes 4 to 4095, seeded as a tree's blocks are    16  4  the number of this block
 *     4  4  magic "LXAT"                                                20  4  bytes of all names, a NUL behind each counted
 *     8  8  inode                                                       24  .. body of the root (format/tree.ts)
 *
 * A record (a key of 8 bytes first, made as that of a directory's entry):
 *
 *     0  8  key                    10  2  runs of blocks of the value; 0 for a value in the record
 *     8  1  length of the name     12  4  length of the value
 *     9  1  reserved, 0            16  n  name, with its prefix
 *
 * and behind the name the value itself, up to 1024 bytes; or the CRC-32 of the value, seeded likewise (4 bytes), and where it is: for each run its first
 * block and its blocks (4 bytes each). The last block is filled up with zeroes. All blocks are metadata: they go through the journal.
 */

import { crc32 } from 'node:zlib';
import { BLOCK_SIZE, type BufferHead } from '../block/buffer-head.js';
import { NAME_MAX } from '../uapi/limits.js';
import { putKey, type TreeFormat } from './btree/node.js';
import { KIND_XATTR } from './format/tree.js';

const MAGIC = 0x5441584c;
const NAMES = 20;
const NAME_LENGTH = 8;
const RUNS = 10;
const VALUE_LENGTH = 12;
const NAME = 16;
const RUN = 8;
/** Longer values have blocks of their own. */
export const INLINE_VALUE = 1024;
/** XATTR_SIZE_MAX and XATTR_LIST_MAX. */
export const VALUE_MAX = 65536;
export const LIST_MAX = 65536;
/** Blocks of the longest value. */
export const VALUE_BLOCKS = VALUE_MAX / BLOCK_SIZE;

function valueBytes(data: Buffer, at: number): number {
  const runs = data.readUInt16LE(at + RUNS);
  return runs === 0 ? data.readUInt32LE(at + VALUE_LENGTH) : 4 + runs * RUN;
}

export const xattr_format: TreeFormat = {
  name: 'extended attributes',
  kind: KIND_XATTR,
  keyBytes: 8,
  minRecord: NAME,
  maxRecord: NAME + NAME_MAX + INLINE_VALUE,
  sizeOf: (data, at) => NAME + (data[at + NAME_LENGTH] ?? 0) + valueBytes(data, at),
};

export interface Run {
  readonly start: number;
  readonly length: number;
}

/** An attribute as its record has it. */
export interface XattrRecord {
  readonly key: number;
  readonly name: string;
  /** Bytes of the value. */
  readonly length: number;
  /** The value, where it is in the record. */
  readonly value: Buffer | undefined;
  readonly checksum: number;
  readonly runs: readonly Run[];
}

/** The record at `at`; a value in blocks of its own is still to be read. */
export function xattrAt(data: Buffer, at: number, key: number): XattrRecord {
  const end = at + NAME + (data[at + NAME_LENGTH] ?? 0);
  const name = data.toString('latin1', at + NAME, end);
  const length = data.readUInt32LE(at + VALUE_LENGTH);
  const count = data.readUInt16LE(at + RUNS);
  if (count === 0) {
    return { key, name, length, value: Buffer.from(data.subarray(end, end + length)), checksum: 0, runs: [] };
  }
  const runs: Run[] = [];
  for (let i = 0; i < count; i++) {
    const run = end + 4 + i * RUN;
    runs.push({ start: data.readUInt32LE(run), length: data.readUInt32LE(run + 4) });
  }
  return { key, name, length, value: undefined, checksum: data.readUInt32LE(end), runs };
}

/** The record of an attribute. @param runs where its value is; none for one that is in the record */
export function encodeXattr(key: number, name: string, value: Buffer, runs: readonly Run[], seed: number): Buffer {
  const head = Buffer.alloc(NAME);
  putKey(xattr_format, head, 0, key);
  head[NAME_LENGTH] = name.length;
  head.writeUInt16LE(runs.length, RUNS);
  head.writeUInt32LE(value.length, VALUE_LENGTH);
  if (runs.length === 0) return Buffer.concat([head, Buffer.from(name, 'latin1'), value]);
  const places = Buffer.alloc(4 + runs.length * RUN);
  places.writeUInt32LE(crc32(value, seed), 0);
  for (const [i, { start, length }] of runs.entries()) {
    places.writeUInt32LE(start, 4 + i * RUN);
    places.writeUInt32LE(length, 8 + i * RUN);
  }
  return Buffer.concat([head, Buffer.from(name, 'latin1'), places]);
}

/** Make a block the root of an inode's attributes, without any yet. */
export function initXattrRoot(data: Buffer, ino: number, block: number): void {
  data.fill(0);
  data.writeUInt32LE(MAGIC, 4);
  data.writeUIntLE(ino, 8, 6);
  data.writeUInt32LE(block, 16);
}

/** Put the checksum in. @param names bytes that all names have, where that is new */
export function sealXattrRoot(data: Buffer, seed: number, names?: number): void {
  if (names !== undefined) data.writeUInt32LE(names, NAMES);
  data.writeUInt32LE(crc32(data.subarray(4), seed), 0);
}

/** Whose attributes a block is to hold. */
interface Owner {
  readonly ino: number;
  readonly seed: number;
}

/** What is wrong with the block that an inode names, its tree excepted. */
export function rootProblem(owner: Owner, bh: BufferHead): string | undefined {
  const { b_data: data } = bh;
  if (data.readUInt32LE(4) !== MAGIC) return 'no extended attributes';
  if (data.readUInt32LE(0) !== crc32(data.subarray(4), owner.seed)) return 'the checksum is wrong';
  if (data.readUIntLE(8, 6) !== owner.ino) return `attributes of inode ${data.readUIntLE(8, 6)}`;
  if (data.readUInt32LE(16) !== bh.b_blocknr) return `attributes of block ${data.readUInt32LE(16)}`;
  return undefined;
}

/** Whether a block says that it is the root of an inode's attributes, whatever else is wrong with it. */
export function isRootOf(owner: Pick<Owner, 'ino'>, bh: BufferHead): boolean {
  const { b_data: data } = bh;
  return (
    data.readUInt32LE(4) === MAGIC && data.readUIntLE(8, 6) === owner.ino && data.readUInt32LE(16) === bh.b_blocknr
  );
}

/** Whether there is something in bytes of a record, or of the root's head, that mean nothing. */
export function recordHoldsReserved(data: Buffer, at: number): boolean {
  return data[at + NAME_LENGTH + 1] !== 0;
}

/** Whether bytes of the root that nobody uses are not 0: that is damage. */
export function rootHoldsReserved({ b_data: data }: BufferHead): boolean {
  return data.readUInt16LE(14) !== 0;
}

/** The bytes of all names as the root says them. */
export function namesOf(bh: BufferHead): number {
  return bh.b_data.readUInt32LE(NAMES);
}
