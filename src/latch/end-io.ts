/**
 * The end of writeback (fs/ext4/page-io.c). Blocks that a write has got, or that were preallocated, are called written when the device has the data, and not before;
 * and so is the file as long as they reach. Whatever fails or is lost before leaves zeroes there, and never what the blocks had held for somebody else. The pages
 * stay under writeback until then.
 */
import { submit_bio } from '../block/bio.js';
import type { BlockDevice } from '../block/block-device.js';
import { type Folio, PAGE_SIZE } from '../mm/folio.js';
import { folio_end_writeback } from '../mm/folio-state.js';
import { asErrno, Errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { convert_unwritten } from './convert.js';
import { infoOf } from './info.js';
import type { LatchInode } from './inode.js';
import { SECTORS } from './map.js';
import type { Writing } from './unconverted.js';

/** Pages under writeback that follow each other on the device from block `start` on. */
export interface WriteRun {
  readonly folios: readonly Folio[];
  readonly start: number;
  /** The byte of the file behind them, or its end: it is as long on the device once they are there. */
  readonly end?: number;
  /** Their blocks count as preallocated until then. */
  readonly writing?: Writing;
}

/** The file is at least so long on the device, as far as it has not been cut off meanwhile. In a handle. */
export function reachTo(inode: LatchInode, end: number): void {
  const size = Math.min(inode.i_size, end);
  if (size > inode.i_disksize) inode.i_disksize = size;
}

/** Start to write pages. @param end called in completion context; by default their writeback ends */
export function submit_run(
  task: Task,
  bdev: BlockDevice,
  { folios, start }: WriteRun,
  end: (task: Task, error: Errno | undefined) => void = (completion, error) => endAll(completion, folios, error),
): void {
  submit_bio(task, bdev, {
    op: 'write',
    sector: start * SECTORS,
    vecs: folios.map((folio) => folio.data),
    length: folios.length * PAGE_SIZE,
    end_io: end,
  });
}

function endAll(task: Task, folios: readonly Folio[], error: Errno | undefined): void {
  for (const folio of folios) folio_end_writeback(task, folio, error);
}

/** Start to write pages whose metadata change when they are on the device (ext4_io_submit, ext4_end_bio). */
export function submit_runs(task: Task, inode: LatchInode, runs: readonly WriteRun[]): void {
  const info = infoOf(inode.i_sb);
  if (!info.journaled) {
    for (const run of runs) submit_run(task, info.bdev, run);
    return;
  }
  const landed: WriteRun[] = [];
  let left = runs.length;
  for (const run of runs) {
    submit_run(task, info.bdev, run, (completion, error) => {
      if (error === undefined) {
        run.writing?.land();
        landed.push(run);
      } else {
        run.writing?.[Symbol.dispose]();
        endAll(completion, run.folios, error);
      }
      if (--left === 0 && landed.length > 0) info.conversions.queue_work((worker) => end_io(worker, inode, landed));
    });
  }
}

/** The data of some runs are on the device (ext4_end_io_end). */
async function end_io(task: Task, inode: LatchInode, runs: readonly WriteRun[]): Promise<void> {
  let failure: unknown;
  try {
    const ranges = runs.flatMap(({ writing }) => writing ?? []);
    await convert_unwritten(task, inode, ranges, () => {
      for (const { end } of runs) reachTo(inode, end ?? 0);
    });
  } catch (error) {
    failure = error;
  }
  for (const { writing } of runs) writing?.[Symbol.dispose]();
  for (const { folios } of runs) endAll(task, folios, failure === undefined ? undefined : asErrno(failure));
  if (failure !== undefined && !(failure instanceof Errno)) throw failure;
}
