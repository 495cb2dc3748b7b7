/** Filling pages of files from the device (fs/ext4/readpage.c). */
import { submit_bio, submit_bio_wait } from '../block/bio.js';
import { GUARDED, guard_read } from '../locking/guarded.js';
import type { MmFile } from '../mm/address-space.js';
import { type Folio, PAGE_SIZE } from '../mm/folio.js';
import { folio_end_read, folio_hand_over, folio_mark_uptodate } from '../mm/folio-state.js';
import type { ReadaheadControl } from '../mm/operations.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { hostOf } from './delayed.js';
import { endOf } from './extent-list.js';
import type { Extent } from './format/inode.js';
import { infoOf } from './info.js';
import type { LatchInode } from './inode.js';
import { SECTORS } from './map.js';
import { note_secret } from './secret.js';
import { forget_sectors, read_one_by_one } from './sectors.js';

/** The inode of a page. @throws EIO where it is of none any more */
export function inodeOf(folio: Folio): LatchInode {
  if (folio.mapping === undefined) throw errno('EIO', 'a folio that was truncated');
  return hostOf(folio.mapping);
}

/** Fill a locked folio; the completion unlocks it. A hole and a preallocated block read as zeroes. */
export function read_folio(task: Task, _file: MmFile | undefined, folio: Folio): Awaitable<void> {
  return readRun(task, inodeOf(folio), [folio], 0);
}

/** ->readahead (ext4_readahead): pages that follow each other on the device come with one request. */
export function readahead(task: Task, rac: ReadaheadControl): Awaitable<void> {
  const [first] = rac.folios;
  return first === undefined ? undefined : readRun(task, inodeOf(first), rac.folios, 0);
}

/** Fill locked folios from `from` on: those that follow each other in the file and on the device with one request. */
function readRun(task: Task, inode: LatchInode, folios: readonly Folio[], from: number): Awaitable<void> {
  for (let i = from; i < folios.length; ) {
    const folio = folios[i];
    if (folio === undefined) return undefined;
    if (folio.mapping !== undefined) guard_read(task, GUARDED.filling, folio.mapping.invalidate_lock);
    let found: Awaitable<Extent | undefined>;
    try {
      found = inode.extents.find(task, folio.index);
    } catch {
      i = failRead(task, folio, i);
      continue;
    }
    if (found instanceof Promise) {
      const at = i;
      return found.then(
        (extent) => readRun(task, inode, folios, readMapped(task, inode, folios, at, extent)),
        () => readRun(task, inode, folios, failRead(task, folio, at)),
      );
    }
    i = readMapped(task, inode, folios, i, found);
  }
  return undefined;
}

/** The tree of extents cannot be read. @returns the index of the next folio */
function failRead(task: Task, folio: Folio, at: number): number {
  folio_end_read(task, folio, false);
  return at + 1;
}

/** @param extent what maps the folio at index `at` of the list @returns the index of the first folio that it did not take */
function readMapped(
  task: Task,
  inode: LatchInode,
  folios: readonly Folio[],
  at: number,
  extent: Extent | undefined,
): number {
  const first = folios[at];
  if (first === undefined) return at;
  if (extent === undefined || extent.unwritten) {
    first.data.fill(0);
    folio_end_read(task, first, true);
    return at + 1;
  }
  const run = [first];
  for (let i = at + 1; i < folios.length; i++) {
    const next = folios[i];
    if (next === undefined || next.index !== first.index + run.length || next.index >= endOf(extent)) break;
    run.push(next);
  }
  note_secret(inode, run);
  for (const folio of run) {
    forget_sectors(folio);
    folio_hand_over(folio);
  }
  const { bdev } = infoOf(inode.i_sb);
  const sector = (extent.physical + first.index - extent.logical) * SECTORS;
  submit_bio(task, bdev, {
    op: 'read',
    sector,
    vecs: run.map((folio) => folio.data),
    length: run.length * PAGE_SIZE,
    end_io: (completion, error) => {
      if (error !== undefined) read_one_by_one(completion, bdev, run, sector);
      else for (const folio of run) folio_end_read(completion, folio, true);
    },
  });
  return at + run.length;
}

/** Read a locked folio over a written extent that stays locked: some of its bytes are to be changed. @throws EIO */
export function read_locked(task: Task, inode: LatchInode, folio: Folio, extent: Extent): Awaitable<void> {
  note_secret(inode, [folio]);
  const sector = (extent.physical + folio.index - extent.logical) * SECTORS;
  const { bdev } = infoOf(inode.i_sb);
  const read = submit_bio_wait(task, bdev, { op: 'read', sector, vecs: [folio.data], length: PAGE_SIZE });
  return andThen(read, () => {
    forget_sectors(folio);
    folio_mark_uptodate(folio);
  });
}
