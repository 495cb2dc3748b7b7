/**
 * Pages of which the device could not read everything: each is read again by itself, and then sector by sector, so that what lies beside a bad place can be had. A
 * page keeps in folio.private which of its sectors are good, as in Linux its buffers do (fs/buffer.c).
 */
import { SECTOR_SIZE, submit_bio } from '../block/bio.js';
import type { BlockDevice } from '../block/block-device.js';
import { GUARDED, guard_read } from '../locking/guarded.js';
import { type Folio, PAGE_SIZE } from '../mm/folio.js';
import { folio_end_read } from '../mm/folio-state.js';
import type { Task } from '../sched/task.js';

const SECTORS = PAGE_SIZE / SECTOR_SIZE;
const ALL = 2 ** SECTORS - 1;

/** What folio.private is for a page that was read in part. */
class GoodSectors {
  /** Bit n: sector n of the page. */
  readonly mask: number;

  constructor(mask: number) {
    this.mask = mask;
  }
}

/** Read locked pages that could not be read together, one by one; the completions unlock them. Callable in completion context. */
export function read_one_by_one(task: Task, bdev: BlockDevice, run: readonly Folio[], sector: number): void {
  for (const [i, folio] of run.entries()) {
    const first = sector + i * SECTORS;
    const failed = (completion: Task): void => read_by_sectors(completion, bdev, folio, first);
    // One that was alone has failed already.
    if (run.length === 1) failed(task);
    else {
      submit_bio(task, bdev, {
        op: 'read',
        sector: first,
        vecs: [folio.data],
        length: PAGE_SIZE,
        end_io: (completion, error) => {
          if (error === undefined) folio_end_read(completion, folio, true);
          else failed(completion);
        },
      });
    }
  }
}

function read_by_sectors(task: Task, bdev: BlockDevice, folio: Folio, first: number): void {
  let mask = 0;
  let left = SECTORS;
  for (let i = 0; i < SECTORS; i++) {
    submit_bio(task, bdev, {
      op: 'read',
      sector: first + i,
      vecs: [folio.data.subarray(i * SECTOR_SIZE, (i + 1) * SECTOR_SIZE)],
      length: SECTOR_SIZE,
      end_io: (completion, error) => {
        if (error === undefined) mask |= 1 << i;
        if (--left > 0) return;
        if (mask !== ALL && mask !== 0) folio.private = new GoodSectors(mask);
        folio_end_read(completion, folio, mask === ALL);
      },
    });
  }
}

/** ->is_partially_uptodate: whether bytes of a locked page that was read in part are good (block_is_partially_uptodate). */
export function latch_is_partially_uptodate(task: Task, folio: Folio, from: number, count: number): boolean {
  guard_read(task, GUARDED.folio_private, folio.lock);
  const { private: kept } = folio;
  if (!(kept instanceof GoodSectors)) return false;
  const last = Math.floor((from + count - 1) / SECTOR_SIZE);
  for (let i = Math.floor(from / SECTOR_SIZE); i <= last; i++) if ((kept.mask & (1 << i)) === 0) return false;
  return true;
}

/** What is known of the sectors of a locked page is of no use any more. */
export function forget_sectors(folio: Folio): void {
  if (folio.private instanceof GoodSectors) folio.private = undefined;
}
