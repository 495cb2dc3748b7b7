/** Delayed allocation: a page that is written to where the file has a hole is promised a block, and gets one when it is written back. */
import { I_FREEING } from '../fs/inode.js';
import { dquot_active, dquot_claim_space, dquot_release_reservation, dquot_reserve_space } from '../fs/quota/charge.js';
import { GUARDED, guard_write } from '../locking/guarded.js';
import type { AddressSpace } from '../mm/address-space.js';
import { type Folio, PAGE_SIZE } from '../mm/folio.js';
import { type Awaitable, andThen, orElse } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { chargeBlocks, initQuota } from './charge.js';
import { BLOCK_SIZE } from './format/layout.js';
import { infoOf } from './info.js';
import { LatchInode } from './inode.js';
import { forget_sectors } from './sectors.js';

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
 * Promise a block to a locked page over a hole, once, and charge it. Waits for a commit where only that makes blocks free.
 * @throws ENOSPC EDQUOT
 */
export function delay(task: Task, inode: LatchInode, folio: Folio): Awaitable<void> {
  guard_write(task, GUARDED.folio_private, folio.lock);
  if (folio.private === DELAYED) return undefined;
  const { alloc, journal } = infoOf(inode.i_sb);
  if (alloc.reserve(1)) return charge(task, inode, folio);
  if (alloc.pending === 0) throw errno('ENOSPC');
  return andThen(journal.force_commit(task), () => {
    if (!alloc.reserve(1)) throw errno('ENOSPC');
    return charge(task, inode, folio);
  });
}

/** There is room for the page: its owner must be allowed it as well. @throws EDQUOT EIO: the room is given back */
function charge(task: Task, inode: LatchInode, folio: Folio): Awaitable<void> {
  if (!dquot_active(inode)) return promised(inode, folio);
  return orElse(
    () =>
      andThen(initQuota(task, inode), () => dquot_reserve_space(task, inode, BLOCK_SIZE, () => promised(inode, folio))),
    (error) => {
      infoOf(inode.i_sb).alloc.unreserve(1);
      throw error;
    },
  );
}

function promised(inode: LatchInode, folio: Folio): void {
  folio.private = DELAYED;
  inode.delayed++;
  inode.i_blocks += SECTORS;
}

/** The promise of a page is void, if it has one. */
export function undelay(task: Task, inode: LatchInode, folio: Folio): void {
  if (folio.private !== DELAYED) return;
  dquot_release_reservation(task, inode, BLOCK_SIZE, () => {
    redeemed(inode, folio);
    inode.i_blocks -= SECTORS;
  });
}

/** A page needs its promise no more. */
function redeemed(inode: LatchInode, folio: Folio): void {
  folio.private = undefined;
  inode.delayed--;
  infoOf(inode.i_sb).alloc.unreserve(1);
}

/** Pages have got blocks that nobody was charged for yet: their promises are kept, and who had none is charged now. In the handle that has mapped them. */
export function claimBlocks(task: Task, inode: LatchInode, folios: readonly Folio[]): Awaitable<void> {
  const kept = folios.filter(isDelayed);
  const others = folios.length - kept.length;
  const claimed = dquot_claim_space(task, inode, kept.length * BLOCK_SIZE, () => {
    for (const folio of kept) redeemed(inode, folio);
  });
  if (others === 0) return claimed;
  return andThen(claimed, () => chargeBlocks(task, inode, others, { nofail: true }));
}

/** ->invalidate_folio: a page that goes as a whole needs no block. */
export function invalidate_folio(task: Task, folio: Folio, offset: number, length: number): void {
  const { mapping } = folio;
  if (mapping === undefined) return;
  guard_write(task, GUARDED.page_tree, folio.lock);
  // Nobody reaches an inode any more that goes away.
  const inUse = (hostOf(mapping).i_state & I_FREEING) === 0;
  if (inUse) guard_write(task, GUARDED.filling, mapping.invalidate_lock);
  if (offset !== 0 || length !== PAGE_SIZE) return;
  undelay(task, hostOf(mapping), folio);
  forget_sectors(folio);
}

/** ->release_folio: a page with a promise is dirty, or about to be. */
export function release_folio(task: Task, folio: Folio): boolean {
  guard_write(task, GUARDED.folio_private, folio.lock);
  forget_sectors(folio);
  return folio.private === undefined;
}
