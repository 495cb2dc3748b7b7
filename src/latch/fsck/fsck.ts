/** Checking a whole filesystem: every invariant of the format. Nothing is written. */
import type { BlockDevice } from '../../block/block-device.js';
import { brelse, sb_bread } from '../../block/buffer-cache.js';
import { Errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { BLOCK_SIZE, GROUP_BLOCKS, journalBlocks, ROOT_BLOCK } from '../format/layout.js';
import { decodeSuper, INCOMPAT_JOURNAL, type Superblock } from '../format/superblock.js';
import { MIN_JOURNAL_BLOCKS } from '../journal/layout.js';
import { read_journal_super, recover } from '../journal/recovery.js';
import { FsckContext } from './context.js';
import { checkDirectories, checkLinks } from './dirs.js';
import { checkUse, readGroups } from './groups.js';
import { checkInodes } from './inodes.js';
import { checkOrphans } from './orphans.js';

export interface FsckResult {
  readonly problems: number;
  /** Transactions of the log that were replayed, in memory. */
  readonly replayed: number;
  readonly inodes: number;
  readonly blocksUsed: number;
  readonly blocks: number;
}

async function readSuper(task: Task, bdev: BlockDevice): Promise<Superblock> {
  const bh = await sb_bread(task, bdev, 0);
  try {
    return decodeSuper(bh.b_data, bdev.name, Math.floor(bdev.size / BLOCK_SIZE));
  } finally {
    brelse(bh);
  }
}

/** Where the journal lies, if that can be. */
function journalPlace(disk: Superblock): string | undefined {
  const { journalFirst: first, journalLength: length } = disk;
  if (first !== ROOT_BLOCK + 1) return `the journal begins at block ${first}`;
  if (length < MIN_JOURNAL_BLOCKS || first + length > Math.min(GROUP_BLOCKS, disk.blocks)) {
    return `the journal has ${length} blocks (${journalBlocks(disk.blocks)} are usual)`;
  }
  return undefined;
}

/**
 * Check a device that nobody has mounted. What is in its log is replayed in memory first.
 * @param report called with each thing that is wrong: where, and what
 * @throws FormatError where it is no filesystem that this latchfs knows
 */
export async function fsck(task: Task, bdev: BlockDevice, report: (line: string) => void): Promise<FsckResult> {
  let disk = await readSuper(task, bdev);
  let replayed = 0;
  let early = 0;
  const tell = (line: string): void => {
    early++;
    report(line);
  };
  const journaled = (disk.incompat & INCOMPAT_JOURNAL) !== 0;
  const misplaced = journaled ? journalPlace(disk) : undefined;
  if (misplaced !== undefined) tell(`superblock: ${misplaced}`);
  else if (journaled) {
    const sb = await read_journal_super(task, bdev, disk.journalFirst, disk.journalLength);
    if (sb === undefined) tell('journal: its superblock is damaged');
    else {
      try {
        replayed = (await recover(task, bdev, disk.journalFirst, sb, true)).recovered.transactions;
      } catch (error) {
        if (!(error instanceof Errno)) throw error;
        tell(`journal: ${error.message}`);
      }
    }
    disk = await readSuper(task, bdev);
    if (replayed > 0 && disk.clean) tell('superblock: says that it is clean, and the log was not empty');
  }
  const context = new FsckContext(task, bdev, disk, report);
  const groups = await readGroups(context);
  if (journaled && misplaced === undefined) context.claim('journal', disk.journalFirst, disk.journalLength);
  await checkInodes(context, groups);
  await checkDirectories(context);
  checkOrphans(context);
  checkLinks(context);
  checkUse(context, groups);
  return {
    problems: context.problems + early,
    replayed,
    inodes: context.inodes.size,
    blocksUsed: disk.blocks - disk.freeBlocks,
    blocks: disk.blocks,
  };
}
