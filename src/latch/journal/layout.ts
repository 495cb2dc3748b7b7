/** What the journal looks like on the device: its superblock, and the blocks of which a transaction in the log consists. */
import { crc32 } from 'node:zlib';
import { BLOCK_SIZE } from '../../block/buffer-head.js';

/**
 * The journal is one run of blocks. Its first block is its superblock; the others are the log, used in a circle. A transaction in the log:
 *
 *     revoke blocks        blocks of which older copies in the log must not be replayed
 *     descriptor block     names the home of each of the blocks that follow it
 *     copies ...           (more descriptors and copies)
 *     commit block         with a checksum over all of the above
 *
 * Every block but the copies begins with:
 *
 *      0  4  magic "JLCH"         4  4  type
 *      8  8  sequence number     16  4  entries
 *     20  4  CRC-32 of the block with this field zero, begun with that of the journal's UUID
 *
 * In a descriptor and in a revoke block the entries follow from byte 24 on, 8 bytes each: block numbers on the device. A commit block has none, but
 *
 *     24  4  blocks of the transaction, itself not counted
 *     28  4  CRC-32 of all of them in order, begun with that of the journal's UUID
 */
const MAGIC = 0x48434c4a;
const HEADER = 24;

export const BLOCK_DESCRIPTOR = 1;
export const BLOCK_COMMIT = 2;
export const BLOCK_SUPER = 3;
export const BLOCK_REVOKE = 4;

/** Homes in a descriptor block, and block numbers in a revoke block, 8 bytes each. */
export const PER_BLOCK = Math.floor((BLOCK_SIZE - HEADER) / 8);
/** The fewest blocks of a journal, its superblock included. */
export const MIN_JOURNAL_BLOCKS = 32;

/**
 *     24  8  block of the log (1 is the first) at which the oldest transaction that may need replaying begins; 0: there is none
 *     32  8  blocks of the journal, this one included
 *     40 16  UUID
 * The sequence number in the header is that transaction's, or the next one's.
 */
export interface JournalSuper {
  readonly sequence: number;
  readonly start: number;
  readonly length: number;
  readonly uuid: Buffer;
}

export interface Header {
  readonly type: number;
  readonly sequence: number;
  readonly entries: number;
}

export interface CommitRecord {
  /** Blocks of the transaction, the commit block not counted. */
  readonly blocks: number;
  /** Over all of them, in order. */
  readonly checksum: number;
}

/** The seed of all checksums of a journal. */
export function seedOfJournal(uuid: Buffer): number {
  return crc32(uuid);
}

/** Continue a checksum over more bytes of the log. */
export function checksum(bytes: Buffer, seed: number): number {
  return crc32(bytes, seed);
}

function put48(b: Buffer, at: number, value: number): void {
  b.writeUIntLE(value, at, 6);
  b.writeUInt16LE(0, at + 6);
}

/** A number of 8 bytes; one that does not fit 48 bits is none of ours and reads as the largest. */
function get48(b: Buffer, at: number): number {
  return b.readUInt16LE(at + 6) === 0 ? b.readUIntLE(at, 6) : 2 ** 48;
}

/** Fill in the header of a block whose payload is complete, and its checksum. */
function seal(b: Buffer, seed: number, header: Header): void {
  b.writeUInt32LE(MAGIC, 0);
  b.writeUInt32LE(header.type, 4);
  put48(b, 8, header.sequence);
  b.writeUInt32LE(header.entries, 16);
  b.writeUInt32LE(0, 20);
  b.writeUInt32LE(crc32(b, seed), 20);
}

/** @returns the header, undefined where the block is none of this journal or damaged */
export function decodeHeader(b: Buffer, seed: number): Header | undefined {
  if (b.readUInt32LE(0) !== MAGIC) return undefined;
  const stored = b.readUInt32LE(20);
  b.writeUInt32LE(0, 20);
  const right = crc32(b, seed) === stored;
  b.writeUInt32LE(stored, 20);
  if (!right) return undefined;
  return { type: b.readUInt32LE(4), sequence: get48(b, 8), entries: b.readUInt32LE(16) };
}

/** Write a descriptor or revoke block. @param b 4096 bytes of zeroes */
export function encodeNumbers(
  b: Buffer,
  seed: number,
  type: typeof BLOCK_DESCRIPTOR | typeof BLOCK_REVOKE,
  sequence: number,
  numbers: readonly number[],
): void {
  numbers.forEach((number, i) => {
    put48(b, HEADER + i * 8, number);
  });
  seal(b, seed, { type, sequence, entries: numbers.length });
}

/** The block numbers of a descriptor or revoke block whose header was decoded. */
export function decodeNumbers(b: Buffer, header: Header): number[] {
  return Array.from({ length: Math.min(header.entries, PER_BLOCK) }, (_, i) => get48(b, HEADER + i * 8));
}

/** A commit block. */
export function encodeCommit(seed: number, sequence: number, record: CommitRecord): Buffer {
  const b = Buffer.alloc(BLOCK_SIZE);
  b.writeUInt32LE(record.blocks, HEADER);
  b.writeUInt32LE(record.checksum, HEADER + 4);
  seal(b, seed, { type: BLOCK_COMMIT, sequence, entries: 0 });
  return b;
}

/** What a commit block says; its seal was looked at before. */
export function decodeCommit(b: Buffer): CommitRecord {
  return { blocks: b.readUInt32LE(HEADER), checksum: b.readUInt32LE(HEADER + 4) };
}

/** The log's own superblock. */
export function encodeJournalSuper(sb: JournalSuper): Buffer {
  const b = Buffer.alloc(BLOCK_SIZE);
  put48(b, HEADER, sb.start);
  put48(b, HEADER + 8, sb.length);
  sb.uuid.copy(b, HEADER + 16, 0, 16);
  seal(b, seedOfJournal(sb.uuid), { type: BLOCK_SUPER, sequence: sb.sequence, entries: 0 });
  return b;
}

/** How many blocks a journal says that it has, by its superblock. @returns undefined where that is none */
export function journalLengthOf(b: Buffer): number | undefined {
  const header = decodeHeader(b, seedOfJournal(Buffer.from(b.subarray(HEADER + 16, HEADER + 32))));
  return header?.type === BLOCK_SUPER ? get48(b, HEADER + 8) : undefined;
}

/**
 * @param length blocks that the journal is said to have
 * @returns undefined where this is not the superblock of a journal of that length, or damaged
 */
export function decodeJournalSuper(b: Buffer, length: number): JournalSuper | undefined {
  const uuid = Buffer.from(b.subarray(HEADER + 16, HEADER + 32));
  const header = decodeHeader(b, seedOfJournal(uuid));
  if (header === undefined || header.type !== BLOCK_SUPER) return undefined;
  const sb = { sequence: header.sequence, start: get48(b, HEADER), length: get48(b, HEADER + 8), uuid };
  return sb.length === length && sb.start < length ? sb : undefined;
}
