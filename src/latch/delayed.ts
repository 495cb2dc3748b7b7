/** Delayed allocation: a page that is written to where the file has a hole is promised a block, and gets one when it is written back. */
import { I_FREEING } from '../fs/inode.js';
import { GUARDED, guard_write } from '../locking/guarded.js';
import type { AddressSpace } from '../mm/address-space.js';
import { type Folio, PAGE_SIZE } from '../mm/folio.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { BLOCK_SIZE } from './format/layout.js';
import { infoOf } from './info.js';
import { LatchInode } from './inode.js';

/** What folio.private is for a page with a promise. */
class Delayed {}
const DELAYED = new Delayed();
const SECTORS = BLOCK_SIZE / 512;

export function hostOf(mapping: AddressSpace): LatchInode {
  const { host } = mapping;
  if (host instanceof LatchInode) return host;
  throw errno('EIO', 'a mapping of another filesystem');
}

/** Whether a page has a promise. */
export function isDelayed(folio: Folio): boolean {
  return folio.private === DELAYED;
}

/**
 * Promise a block to a locked page over a hole, once. Waits for a commit where only that makes blocks free.
 * @throws ENOSPC
 */
export function delay(task: Task, inode: LatchInode, folio: Folio): Awaitable<void> {
  if (folio.private === DELAYED) return undefined;
  const { alloc, journal } = infoOf(inode.i_sb);
  if (alloc.reserve(1)) return promised(inode, folio);
  if (alloc.pending === 0) throw errno('ENOSPC');
  return andThen(journal.force_commit(task), () => {
    if (!alloc.reserve(1)) throw errno('ENOSPC');
    promised(inode, folio);
  });
}

function promised(inode: LatchInode, folio: Folio): void {
  folio.private = DELAYED;
  inode.delayed++;
  inode.i_blocks += SECTORS;
}

/** The promise of a page is kept or void, if it has one. */
export function undelay(inode: LatchInode, folio: Folio): void {
  if (folio.private !== DELAYED) return;
  folio.private = undefined;
  inode.delayed--;
  inode.i_blocks -= SECTORS;
  infoOf(inode.i_sb).alloc.unreserve(1);
}

/** ->invalidate_folio: a page that goes as a whole needs no block. */
export function invalidate_folio(task: Task, folio: Folio, offset: number, length: number): void {
  const { mapping } = folio;
  if (mapping === undefined) return;
  guard_write(task, GUARDED.page_tree, folio.lock);
  // Nobody reaches an inode any more that goes away.
  const inUse = (hostOf(mapping).i_state & I_FREEING) === 0;
  if (inUse) guard_write(task, GUARDED.filling, mapping.invalidate_lock);
  if (offset === 0 && length === PAGE_SIZE) undelay(hostOf(mapping), folio);
}

/** ->release_folio: a page with a promise is dirty, or about to be. */
export function release_folio(_task: Task, folio: Folio): boolean {
  return folio.private === undefined;
}
