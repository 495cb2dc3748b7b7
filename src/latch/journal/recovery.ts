/** Replaying the journal at mount (fs/jbd2/recovery.c): three passes over the log. */

import { submit_bio_wait } from '../../block/bio.js';
import type { BlockDevice } from '../../block/block-device.js';
import { brelse, get_bh, mark_buffer_dirty, sync_dirty_buffer } from '../../block/buffer.js';
import { bytes_settled } from '../../block/buffer-access.js';
import { sb_getblk } from '../../block/buffer-cache.js';
import { BLOCK_SIZE } from '../../block/buffer-head.js';
import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import {
  BLOCK_COMMIT,
  BLOCK_DESCRIPTOR,
  BLOCK_REVOKE,
  checksum,
  decodeCommit,
  decodeHeader,
  decodeJournalSuper,
  decodeNumbers,
  type JournalSuper,
  PER_BLOCK,
} from './layout.js';
import { Log } from './log.js';

/** What a replay has found and done. */
export interface Recovered {
  readonly transactions: number;
  /** Blocks that were written home. */
  readonly blocks: number;
  /** Copies that were passed over because the block was freed later. */
  readonly revoked: number;
  /** It was done in memory only, and the log is as it was: nothing may be written to the device. */
  readonly inMemory: boolean;
}

/** One whole transaction in the log. */
interface Found {
  readonly sequence: number;
  /** Home of each copy, and its position in the log. */
  readonly copies: readonly { readonly home: number; readonly position: number }[];
  readonly revokes: readonly number[];
}

export interface Scan {
  readonly found: readonly Found[];
  /** The number of the transaction that is missing or incomplete. */
  readonly next: number;
}

/**
 * Read the journal's superblock.
 * @param first the journal's first block on the device; @param length its blocks
 * @throws EIO where it cannot be read; undefined where it is damaged or of another journal
 */
export async function read_journal_super(
  task: Task,
  bdev: BlockDevice,
  first: number,
  length: number,
): Promise<JournalSuper | undefined> {
  const block = Buffer.allocUnsafeSlow(BLOCK_SIZE);
  await submit_bio_wait(task, bdev, {
    op: 'read',
    sector: first * (BLOCK_SIZE / 512),
    vecs: [block],
    length: BLOCK_SIZE,
  });
  return decodeJournalSuper(block, length);
}

/** Find the whole transactions from the tail on (PASS_SCAN); the first one that is not whole ends the log. @throws EIO */
export async function scan_log(task: Task, log: Log, start: number, sequence: number): Promise<Scan> {
  const found: Found[] = [];
  let position = start;
  let left = log.capacity;
  for (;;) {
    const one = await scanOne(task, log, position, sequence, left);
    if (one === undefined) return { found, next: sequence };
    found.push(one.found);
    position = log.after(position, one.blocks);
    left -= one.blocks;
    sequence++;
  }
}

async function scanOne(
  task: Task,
  log: Log,
  start: number,
  sequence: number,
  left: number,
): Promise<{ readonly found: Found; readonly blocks: number } | undefined> {
  const copies: { home: number; position: number }[] = [];
  const revokes: number[] = [];
  const block = Buffer.allocUnsafeSlow(BLOCK_SIZE);
  let sum = log.seed;
  for (let blocks = 0; blocks < left; ) {
    await log.read(task, log.after(start, blocks), block);
    const header = decodeHeader(block, log.seed);
    if (header === undefined || header.sequence !== sequence || header.entries > PER_BLOCK) return undefined;
    if (header.type === BLOCK_COMMIT) {
      const record = decodeCommit(block);
      if (record.blocks !== blocks || record.checksum !== sum) return undefined;
      return { found: { sequence, copies, revokes }, blocks: blocks + 1 };
    }
    sum = checksum(block, sum);
    blocks++;
    const numbers = decodeNumbers(block, header);
    if (header.type === BLOCK_REVOKE) revokes.push(...numbers);
    else if (header.type === BLOCK_DESCRIPTOR && numbers.length < left - blocks) {
      const data = Buffer.allocUnsafeSlow(numbers.length * BLOCK_SIZE);
      await log.read(task, log.after(start, blocks), data);
      sum = checksum(data, sum);
      for (const home of numbers) copies.push({ home, position: log.after(start, blocks++) });
    } else return undefined;
  }
  return undefined;
}

/** Which copies are to be replayed: of each block the last one, unless the block was freed in that transaction or later (PASS_REVOKE). */
function select(scan: Scan): { readonly homes: Map<number, number>; readonly revoked: number } {
  const freed = new Map<number, number>();
  for (const { sequence, revokes } of scan.found) for (const block of revokes) freed.set(block, sequence);
  const homes = new Map<number, number>();
  let revoked = 0;
  for (const { sequence, copies } of scan.found) {
    for (const { home, position } of copies) {
      if ((freed.get(home) ?? -1) >= sequence) revoked++;
      else homes.set(home, position);
    }
  }
  return { homes, revoked };
}

/**
 * Replay what the log holds, and mark it empty (jbd2_journal_recover). Through the buffer cache: buffers read before show what was replayed. On a
 * device that is read-only, or where nothing shall be written, it is replayed in memory: its blocks stay in the buffer cache, and the device as it is.
 * @param sb the journal's superblock, as read_journal_super gave it
 * @returns the log, ready for use, and what was done
 * @throws EIO
 */
export async function recover(
  task: Task,
  bdev: BlockDevice,
  first: number,
  sb: JournalSuper,
  inMemory: boolean,
): Promise<{ readonly log: Log; readonly recovered: Recovered }> {
  const log = new Log(bdev, first, sb.length, sb.uuid, sb.sequence);
  if (sb.start === 0) return { log, recovered: { transactions: 0, blocks: 0, revoked: 0, inMemory: false } };
  const scan = await scan_log(task, log, sb.start, sb.sequence);
  const { homes, revoked } = select(scan);
  const deviceBlocks = Math.floor(bdev.size / BLOCK_SIZE);
  const copy = Buffer.allocUnsafeSlow(BLOCK_SIZE);
  for (const [home, position] of [...homes].sort(([a], [b]) => a - b)) {
    if (home >= deviceBlocks) throw errno('EIO', `the journal holds a block ${home} beyond the end of the device`);
    await log.read(task, position, copy);
    await restore(task, bdev, home, copy, inMemory);
  }
  const recovered = { transactions: scan.found.length, blocks: homes.size, revoked, inMemory };
  if (inMemory) return { log, recovered };
  await log.flush(task);
  // The number of an incomplete transaction is not used again: what is left of it must never pass for part of another.
  log.sequence = scan.next + 1;
  await log.writeSuper(task, 0, log.sequence, true);
  return { log, recovered };
}

async function restore(task: Task, bdev: BlockDevice, block: number, bytes: Buffer, inMemory: boolean): Promise<void> {
  const bh = sb_getblk(task, bdev, block);
  try {
    bytes.copy(bh.b_data);
    bh.uptodate = true;
    bh.verified = false;
    bytes_settled(bh);
    // With one more reference it never leaves memory.
    if (inMemory) {
      get_bh(bh);
      return;
    }
    mark_buffer_dirty(bh);
    await sync_dirty_buffer(task, bh);
  } finally {
    brelse(bh);
  }
}
