/** Delayed allocation: a page that is written to where the file has a hole is promised a block, and gets one when it is written back. */

import { sync_inodes_sb } from '../fs/fs-writeback.js';
import { I_FREEING } from '../fs/inode.js';
import { dquot_active, dquot_claim_space, dquot_release_reservation, dquot_reserve_space } from '../fs/quota/charge.js';
import { GUARDED, guard_write } from '../locking/guarded.js';
import type { AddressSpace } from '../mm/address-space.js';
import { type Folio, PAGE_SIZE } from '../mm/folio.js';
import { type Awaitable, andThen, orElse } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { BODY_BYTES } from './btree/tree.js';
import { chargeBlocks, initQuota } from './charge.js';
import { EXTENT_SIZE } from './format/inode.js';
import { BLOCK_SIZE } from './format/layout.js';
import { SLOT } from './format/tree.js';
import { infoOf, type LatchInfo } from './info.js';
import { LatchInode } from './inode.js';
import { forget_sectors } from './sectors.js';

/** What folio.private is for a page with a promise. */
class Delayed {}
const DELAYED = new Delayed();
const SECTORS = BLOCK_SIZE / 512;
/** Bytes of an extent in a node, and how many a node has that was split. */
const RECORD = EXTENT_SIZE + SLOT;
const HALF_A_NODE = Math.floor(BODY_BYTES / RECORD / 2);

/** Whose pages a mapping has. @throws EIO for one of another filesystem */
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
  if (reserve(inode)) return charge(task, inode, folio);
  if (alloc.pending === 0) throw errno('ENOSPC');
  return andThen(journal.force_commit(task), () => {
    if (!reserve(inode)) throw errno('ENOSPC');
    return charge(task, inode, folio);
  });
}

/** Blocks of the tree that mapping so many pages may take, each a piece of its own. */
function nodesFor(inode: LatchInode, pages: number): number {
  if (pages === 0) return 0;
  const { root } = inode.extents.tree;
  if (root.level === 0 && pages * RECORD <= root.room) return 0;
  return root.level + Math.ceil(pages / HALF_A_NODE);
}

function reserve(inode: LatchInode): boolean {
  const nodes = Math.max(0, nodesFor(inode, inode.delayed + 1) - inode.promisedNodes);
  if (!infoOf(inode.i_sb).alloc.promises.reserve(1, nodes)) return false;
  inode.promisedNodes += nodes;
  return true;
}

/** A promise is void, or kept: what the tree may take for the others is as much or less. */
function unreserve(inode: LatchInode): void {
  const spare = Math.max(0, inode.promisedNodes - nodesFor(inode, inode.delayed));
  inode.promisedNodes -= spare;
  infoOf(inode.i_sb).alloc.promises.unreserve(1, spare);
}

/**
 * Give all pages their blocks that were promised some, because what was promised to trees beside is needed: most of that is free again then (xfs_flush_inodes). Who
 * has the superblock locked is not waited for.
 * @returns whether that was done
 */
export async function flush_promises(task: Task, { sb, alloc }: LatchInfo): Promise<boolean> {
  if (alloc.promises.expected === 0) return false;
  using held = sb.s_umount.tryRead(task);
  if (held === undefined) return false;
  await sync_inodes_sb(task, sb);
  return true;
}

/** There is room for the page: its owner must be allowed it as well. @throws EDQUOT EIO: the room is given back */
function charge(task: Task, inode: LatchInode, folio: Folio): Awaitable<void> {
  if (!dquot_active(inode)) return promised(inode, folio);
  return orElse(
    () =>
      andThen(initQuota(task, inode), () => dquot_reserve_space(task, inode, BLOCK_SIZE, () => promised(inode, folio))),
    (error) => {
      unreserve(inode);
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
  unreserve(inode);
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
