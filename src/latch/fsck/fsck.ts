/** Checking a whole filesystem, every invariant of the format; and repairing it (e2fsck). */
import type { BlockDevice } from '../../block/block-device.js';
import { isErrno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { groupsOf } from '../format/layout.js';
import { COMPAT_COPY, copyBlock, type Superblock } from '../format/superblock.js';
import { FsckContext, Report } from './context.js';
import { checkDirectories } from './dirs.js';
import { checkUse, type ReadGroup, readGroups } from './groups.js';
import { checkInodes } from './inodes.js';
import { type JournalState, openLog, renewJournal } from './journal.js';
import { checkLinks, checkOrphans, linkOrphans, setLinks } from './links.js';
import { connect } from './lost.js';
import { checkQuotas, distrustQuotas, findQuotaFiles, nameQuotaFiles } from './quota.js';
import type { Seen } from './seen.js';
import { settleShared } from './shared.js';
import { Space } from './space.js';
import { findSuper } from './superblock.js';
import { writeAll } from './write.js';

/**
 * What may be done. `look`: nothing is written, the log is replayed in memory. `safe`: repair if all that is wrong can be put right without losing anything, and
 * else only replay the log. `all`: repair everything.
 */
export type Repair = 'look' | 'safe' | 'all';

export interface FsckResult {
  /** What was wrong at first. */
  readonly problems: number;
  /** Something was repaired. */
  readonly repaired: boolean;
  /** What is wrong now. */
  readonly left: number;
  /** Blocks that the device cannot read: nothing is repaired then. */
  readonly unreadable: number;
  /** Transactions of the log that were replayed. */
  readonly replayed: number;
  readonly inodes: number;
  /** The filesystem's name, a byte a character. */
  readonly label: string;
  readonly blocksUsed: number;
  readonly blocks: number;
}

/** One look at everything. */
interface Look {
  readonly context: FsckContext;
  readonly report: Report;
  readonly groups: readonly ReadGroup[];
  readonly journal: JournalState;
  readonly orphans: number[] | undefined;
  readonly nameless: readonly Seen[];
}

/** Damage that only shows when other damage is repaired needs another round; more than this means that it does not end. */
const ROUNDS = 5;

/**
 * Check a device that nobody has mounted, and repair it if that is asked for. What was repaired is checked again.
 * @param tell called with each thing that is wrong: where, and what; after a repair with what is wrong then
 * @throws FormatError where it is no filesystem that this latchfs knows; EIO
 */
export async function fsck(
  task: Task,
  bdev: BlockDevice,
  tell: (line: string) => void,
  repair: Repair = 'look',
): Promise<FsckResult> {
  let look = await lookAt(task, bdev, tell, repair);
  const { problems } = look.report;
  const { replayed } = look.journal;
  let repaired = false;
  for (let round = 0; round < ROUNDS && mayRepair(look, repair); round++) {
    try {
      await repairAll(look);
    } catch (error) {
      if (!isErrno(error, 'ENOSPC')) throw error;
      // Only blocks that are free were written to.
      tell('there is no room for what must be made anew: mount it, delete something, and repair it then');
      break;
    }
    repaired = true;
    look = await lookAt(task, bdev, tell, repair);
  }
  const { context, report } = look;
  const { blocks, freeBlocks, label } = context.super;
  return {
    problems,
    repaired,
    left: report.problems,
    unreadable: report.unreadable,
    replayed,
    inodes: context.inodes.size,
    label,
    blocksUsed: blocks - freeBlocks,
    blocks,
  };
}

function mayRepair({ report }: Look, repair: Repair): boolean {
  // What cannot be read may be whole: it is not given up for that.
  if (report.problems === 0 || repair === 'look' || report.unreadable > 0) return false;
  return repair === 'all' || report.grave === 0;
}

async function lookAt(task: Task, bdev: BlockDevice, tell: (line: string) => void, repair: Repair): Promise<Look> {
  const report = new Report(tell);
  let found = await findSuper(task, bdev, report);
  const inMemory = repair === 'look' || (repair === 'safe' && report.grave > 0);
  const journal = await openLog(task, bdev, found.super, report, inMemory);
  if (journal.replayed > 0) {
    // What is wrong with the superblock was told; the log may have brought a sound one.
    found = await findSuper(task, bdev, new Report(() => undefined));
    if (found.super.clean) report.problem('superblock', 'says that it is clean, and the log was not empty', 'safe');
  }
  const context = new FsckContext(task, bdev, rightSuper(found.super, journal), report);
  const groups = await readGroups(context);
  const { journalFirst, journalLength, blocks, compat } = context.super;
  for (let n = 0; n < journalLength; n++) context.claimMetadata('journal', journalFirst + n);
  if ((compat & COMPAT_COPY) !== 0 && groupsOf(blocks) === 1) {
    context.claimMetadata('copy of the superblock', copyBlock(blocks));
  }
  await checkInodes(context, groups);
  await checkDirectories(context);
  if (found.stale) await findQuotaFiles(context);
  nameQuotaFiles(context);
  const orphans = checkOrphans(context);
  const nameless = checkLinks(context);
  await checkQuotas(context);
  checkUse(context, groups, !found.stale);
  if (found.stale) context.super.generation = nextGeneration(context);
  return { context, report, groups, journal, orphans, nameless };
}

/** The superblock with the place of the journal as it is. */
function rightSuper(disk: Superblock, { first, length }: JournalState): Superblock {
  return { ...disk, journalFirst: first, journalLength: length };
}

/** One that no inode has had, as far as can be known. */
function nextGeneration(context: FsckContext): number {
  let most = context.super.generation;
  for (const { disk } of context.inodes.values()) most = Math.max(most, disk.generation);
  return (most + 1) >>> 0;
}

async function repairAll({ context, groups, journal, orphans, nameless }: Look): Promise<void> {
  if (journal.lost) await renewJournal(context.task, context.bdev, journal);
  distrustQuotas(context);
  const space = new Space(context, groups);
  await settleShared(context, (near) => space.spare(near));
  await connect(context, nameless, space);
  if (orphans !== undefined) linkOrphans(context, orphans);
  setLinks(context);
  await writeAll(context, groups, space);
}
