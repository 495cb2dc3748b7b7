/** Making a journal on a device, and opening it at mount. */
import type { BlockDevice } from '../../block/block-device.js';
import { errno } from '../../sched/errno.js';
import type { Scheduler } from '../../sched/scheduler.js';
import type { Task } from '../../sched/task.js';
import type { Validator } from '../../sched/validator.js';
import { type JournalOptions, LogJournal } from './journal.js';
import { MIN_JOURNAL_BLOCKS } from './layout.js';
import { Log } from './log.js';
import { type Recovered, read_journal_super, recover } from './recovery.js';

/** Where a journal lies. */
export interface JournalPlace {
  /** Its first block on the device. */
  readonly first: number;
  /** Its blocks, at least 32. */
  readonly length: number;
}

/**
 * Write the superblock of an empty journal (mkfs).
 * @param uuid 16 bytes, new ones for every journal: what an earlier one left in the log is told by it
 * @throws EINVAL where it is too short; EIO
 */
export async function journal_format(task: Task, bdev: BlockDevice, place: JournalPlace, uuid: Buffer): Promise<void> {
  if (place.length < MIN_JOURNAL_BLOCKS) throw errno('EINVAL', `a journal needs ${MIN_JOURNAL_BLOCKS} blocks`);
  const log = new Log(bdev, place.first, place.length, uuid, 1);
  await log.writeSuper(task, 0, 1, true);
}

/**
 * Open the journal of a filesystem that is being mounted, replaying it first (jbd2_journal_load). Before any other metadata is relied on.
 * @param inMemory replay without writing anything: the journal cannot be used then
 * @throws EIO where it is damaged
 */
export async function journal_load(
  task: Task,
  bdev: BlockDevice,
  place: JournalPlace,
  machine: { readonly sched: Scheduler; readonly validator: Validator },
  options: JournalOptions = {},
  inMemory = bdev.read_only,
): Promise<{ readonly journal: LogJournal; readonly recovered: Recovered }> {
  const sb = await read_journal_super(task, bdev, place.first, place.length);
  if (sb === undefined) throw errno('EIO', "the journal's superblock is damaged");
  const { log, recovered } = await recover(task, bdev, place.first, sb, inMemory);
  return { journal: new LogJournal(log, machine.sched, machine.validator, options), recovered };
}
