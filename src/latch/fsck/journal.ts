/** The journal of a filesystem that is checked: where it is, and what is in its log. */
import { randomBytes } from 'node:crypto';
import { SECTOR_SIZE, submit_bio_wait } from '../../block/bio.js';
import type { BlockDevice } from '../../block/block-device.js';
import { Errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { BLOCK_SIZE, GROUP_BLOCKS, journalBlocks, ROOT_BLOCK } from '../format/layout.js';
import { INCOMPAT_JOURNAL, type Superblock } from '../format/superblock.js';
import { journalLengthOf, MIN_JOURNAL_BLOCKS } from '../journal/layout.js';
import { journal_format } from '../journal/load.js';
import { read_journal_super, recover } from '../journal/recovery.js';
import type { Report } from './context.js';

export interface JournalState {
  readonly replayed: number;
  /** Its superblock must be made anew: the log is lost. */
  readonly lost: boolean;
  /** Where it is, as far as that is known. */
  readonly first: number;
  readonly length: number;
}

const NONE: JournalState = { replayed: 0, lost: false, first: 0, length: 0 };

/** Where the journal lies, if that can be. */
function placeProblem(disk: Superblock): string | undefined {
  const { journalFirst: first, journalLength: length } = disk;
  if (first !== ROOT_BLOCK + 1) return `the journal begins at block ${first}`;
  if (!isLength(disk, length)) return `the journal has ${length} blocks (${journalBlocks(disk.blocks)} are usual)`;
  return undefined;
}

function isLength(disk: Superblock, length: number): boolean {
  return length >= MIN_JOURNAL_BLOCKS && ROOT_BLOCK + 1 + length <= Math.min(GROUP_BLOCKS, disk.blocks);
}

/** How long the journal is by its own superblock, or as mkfs would make it. */
async function realLength(task: Task, bdev: BlockDevice, disk: Superblock): Promise<number | undefined> {
  const bytes = Buffer.allocUnsafeSlow(BLOCK_SIZE);
  // Not through the buffer cache: the journal's own blocks are written past it.
  const sector = ((ROOT_BLOCK + 1) * BLOCK_SIZE) / SECTOR_SIZE;
  await submit_bio_wait(task, bdev, { op: 'read', sector, vecs: [bytes], length: BLOCK_SIZE });
  const length = journalLengthOf(bytes);
  return length !== undefined && isLength(disk, length) ? length : undefined;
}

/**
 * Replay the log.
 * @param inMemory nothing may be written
 */
export async function openLog(
  task: Task,
  bdev: BlockDevice,
  disk: Superblock,
  report: Report,
  inMemory: boolean,
): Promise<JournalState> {
  if ((disk.incompat & INCOMPAT_JOURNAL) === 0) return NONE;
  const misplaced = placeProblem(disk);
  if (misplaced !== undefined) report.problem('superblock', misplaced);
  const real = await realLength(task, bdev, disk);
  if (misplaced === undefined && real !== undefined && real !== disk.journalLength) {
    report.problem('superblock', `says that the journal has ${disk.journalLength} blocks, and it has ${real}`);
  }
  const length = real ?? (misplaced === undefined ? disk.journalLength : journalBlocks(disk.blocks));
  const place = { first: ROOT_BLOCK + 1, length };
  const sb = await read_journal_super(task, bdev, place.first, length);
  if (sb === undefined) {
    report.problem('journal', 'its superblock is damaged');
    return { replayed: 0, lost: true, ...place };
  }
  try {
    const { recovered } = await recover(task, bdev, place.first, sb, inMemory);
    return { replayed: recovered.transactions, lost: false, ...place };
  } catch (error) {
    if (!(error instanceof Errno)) throw error;
    report.problem('journal', error.message);
    return { replayed: 0, lost: true, ...place };
  }
}

/** An empty journal in place of one that is lost: with another UUID, so that nothing of the old log is ever taken for part of it. */
export async function renewJournal(task: Task, bdev: BlockDevice, { first, length }: JournalState): Promise<void> {
  await journal_format(task, bdev, { first, length }, randomBytes(16));
}
