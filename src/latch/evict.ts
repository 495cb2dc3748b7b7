/** The end of an inode without a name: its blocks and its number are given back (ext4_evict_inode). */
import type { Inode } from '../fs/inode.js';
import { dquot_drop, dquot_free_inode } from '../fs/quota/charge.js';
import { SB_RDONLY } from '../fs/super-block.js';
import { sb_end_write, sb_start_intwrite, sb_start_intwrite_trylock, type Writing } from '../fs/super-freeze.js';
import { heldBy } from '../locking/held.js';
import { fs_reclaim } from '../locking/lock-map.js';
import { truncate_inode_pages_final } from '../mm/truncate.js';
import { type Awaitable, andThen, orElse, withCleanup } from '../sched/awaitable.js';
import { Errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { initQuota } from './charge.js';
import { free_eof_blocks } from './eof-blocks.js';
import { MAX_LOGICAL } from './extent-list.js';
import { CREDITS, infoOf, with_handle } from './info.js';
import { type LatchInode, latchInode } from './inode.js';
import type { Handle } from './journal/types.js';
import { freeBlocks } from './truncate.js';
import { freeXattrs } from './xattr.js';

/** The last reference is gone: an inode without a name is deleted. Where that fails it stays on the orphan list, and the next mount does it. */
export function evict_inode(task: Task, given: Inode): Awaitable<void> {
  const inode = latchInode(given);
  const mapping = inode.mappingIfAny;
  if (mapping === undefined || mapping.nrpages === 0) return evictCharged(task, inode);
  return andThen(truncate_inode_pages_final(task, mapping), evictPageless, task, inode);
}

function evictPageless(_truncated: void, task: Task, inode: LatchInode): Awaitable<void> {
  return evictCharged(task, inode);
}

/** Whatever becomes of it, nobody is charged for what leaves memory. */
function evictCharged(task: Task, inode: LatchInode): Awaitable<void> {
  return withCleanup(evict, dquot_drop, task, inode);
}

function evict(task: Task, inode: LatchInode): Awaitable<void> {
  // One that could not be read has no mode.
  if (inode.i_mode === 0 || (inode.i_sb.s_flags & SB_RDONLY) !== 0) return undefined;
  const info = infoOf(inode.i_sb);
  if (info.forced_shutdown) return undefined;
  if (inode.i_nlink === 0) return orElse(deleteUnfrozen, onlyErrno, task, inode);
  // A truncation has failed halfway: nobody may find the inode by the list in memory any more.
  if (info.orphans.has(inode)) return whileNotFrozen(task, inode, forget);
  return inode.has_eof_blocks ? orElse(freeBehindEof, onlyErrno, task, inode) : undefined;
}

/** There is always another time: who frees memory, has a transaction open, or holds what a thaw needs, must wait for nothing here. */
function freeBehindEof(task: Task, inode: LatchInode): Awaitable<void> {
  if (task.journal_info !== undefined || heldBy(task, fs_reclaim) !== undefined) return undefined;
  const writing = sb_start_intwrite_trylock(task, inode.i_sb);
  return writing === 'frozen' ? undefined : changeAsWriter(writing, task, inode, free_eof_blocks);
}

function forget(task: Task, inode: LatchInode): Awaitable<void> {
  return with_handle(task, infoOf(inode.i_sb), leaveOrphans, CREDITS, inode);
}

function leaveOrphans(handle: Handle, task: Task, inode: LatchInode): Awaitable<void> {
  return infoOf(inode.i_sb).orphans.del(task, handle, inode);
}

function onlyErrno(error: unknown): void {
  if (!(error instanceof Errno)) throw error;
}

function deleteUnfrozen(task: Task, inode: LatchInode): Awaitable<void> {
  return whileNotFrozen(task, inode, deleteCharged);
}

type Change = (task: Task, inode: LatchInode) => Awaitable<void>;

/** Who drops the last reference has not come in as a writer; who has a transaction open is let finish by a freeze anyway. */
function whileNotFrozen(task: Task, inode: LatchInode, change: Change): Awaitable<void> {
  if (task.journal_info !== undefined) return change(task, inode);
  return andThen(sb_start_intwrite(task, inode.i_sb), changeAsWriter, task, inode, change);
}

function changeAsWriter(writing: Writing, task: Task, inode: LatchInode, change: Change): Awaitable<void> {
  return withCleanup(changeWriting, sb_end_write, writing, task, inode, change);
}

function changeWriting(_writing: Writing, task: Task, inode: LatchInode, change: Change): Awaitable<void> {
  return change(task, inode);
}

function deleteCharged(task: Task, inode: LatchInode): Awaitable<void> {
  return andThen(initQuota(task, inode), deleteInHandle, task, inode);
}

function deleteInHandle(_known: void, task: Task, inode: LatchInode): Awaitable<void> {
  return with_handle(task, infoOf(inode.i_sb), deleteInode, CREDITS, inode);
}

function deleteInode(handle: Handle, task: Task, inode: LatchInode): Awaitable<void> {
  const empty = andThen(freeAll(task, handle, inode), freeXattrBlock, task, handle, inode);
  const listless = andThen(empty, leaveList, task, handle, inode);
  return andThen(andThen(listless, freeNumber, task, handle, inode), uncharge, task, inode);
}

function freeXattrBlock(_freed: void, task: Task, handle: Handle, inode: LatchInode): Awaitable<void> {
  return inode.xattrBlock === 0 ? undefined : freeXattrs(task, handle, inode);
}

function leaveList(_freed: void, task: Task, handle: Handle, inode: LatchInode): Awaitable<void> {
  return leaveOrphans(handle, task, inode);
}

function freeNumber(_left: void, task: Task, handle: Handle, inode: LatchInode): Awaitable<void> {
  return infoOf(inode.i_sb).inodes.free(task, handle, inode.i_ino);
}

function uncharge(_freed: void, task: Task, inode: LatchInode): Awaitable<void> {
  return dquot_free_inode(task, inode);
}

function freeAll(task: Task, handle: Handle, inode: LatchInode): Awaitable<void> {
  if (!inode.mayHaveExtents) return undefined;
  return andThen(inode.extents.tree.isEmpty(task), freeUnlessEmpty, task, handle, inode);
}

function freeUnlessEmpty(empty: boolean, task: Task, handle: Handle, inode: LatchInode): Awaitable<void> {
  return empty ? undefined : freeBlocks(task, handle, inode, 0, MAX_LOGICAL);
}
