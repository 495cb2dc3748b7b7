/** The end of an inode without a name: its blocks and its number are given back (ext4_evict_inode). */
import type { Inode } from '../fs/inode.js';
import { dquot_drop, dquot_free_inode } from '../fs/quota/charge.js';
import { SB_RDONLY } from '../fs/super-block.js';
import { sb_end_write, sb_start_intwrite } from '../fs/super-freeze.js';
import { truncate_inode_pages_final } from '../mm/truncate.js';
import { type Awaitable, andThen, inTurn, orElse, withCleanup } from '../sched/awaitable.js';
import { Errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { initQuota } from './charge.js';
import { MAX_LOGICAL } from './extent-list.js';
import { infoOf, type LatchInfo, with_handle } from './info.js';
import { type LatchInode, latchInode } from './inode.js';
import type { Handle } from './journal/types.js';
import { freeBlocks } from './truncate.js';
import { freeXattrs } from './xattr.js';

/** The last reference is gone: an inode without a name is deleted. Where that fails it stays on the orphan list, and the next mount does it. */
export function evict_inode(task: Task, given: Inode): Awaitable<void> {
  const inode = latchInode(given);
  const mapping = inode.mappingIfAny;
  if (mapping === undefined || mapping.nrpages === 0) return evictCharged(task, inode);
  return andThen(truncate_inode_pages_final(task, mapping), () => evictCharged(task, inode));
}

/** Whatever becomes of it, nobody is charged for what leaves memory. */
function evictCharged(task: Task, inode: LatchInode): Awaitable<void> {
  return withCleanup(
    () => evict(task, inode),
    () => dquot_drop(task, inode),
  );
}

function evict(task: Task, inode: LatchInode): Awaitable<void> {
  // One that could not be read has no mode.
  if (inode.i_mode === 0 || (inode.i_sb.s_flags & SB_RDONLY) !== 0) return undefined;
  const info = infoOf(inode.i_sb);
  if (info.forced_shutdown) return undefined;
  if (inode.i_nlink > 0) {
    // A truncation has failed halfway: nobody may find the inode by the list in memory any more.
    if (!info.orphans.has(inode)) return undefined;
    return whileNotFrozen(task, inode, () =>
      with_handle(task, info, (handle) => info.orphans.del(task, handle, inode)),
    );
  }
  return orElse(
    () =>
      whileNotFrozen(task, inode, () =>
        andThen(initQuota(task, inode), () =>
          with_handle(task, info, (handle) => deleteInode(task, handle, info, inode)),
        ),
      ),
    (error) => {
      if (!(error instanceof Errno)) throw error;
    },
  );
}

/** Who drops the last reference has not come in as a writer; who has a transaction open is let finish by a freeze anyway. */
function whileNotFrozen(task: Task, inode: LatchInode, body: () => Awaitable<void>): Awaitable<void> {
  if (task.journal_info !== undefined) return body();
  return andThen(sb_start_intwrite(task, inode.i_sb), (writing) => withCleanup(body, () => sb_end_write(writing)));
}

function deleteInode(task: Task, handle: Handle, info: LatchInfo, inode: LatchInode): Awaitable<void> {
  return inTurn(
    () => freeAll(task, handle, inode),
    () => (inode.xattrBlock === 0 ? undefined : freeXattrs(task, handle, inode)),
    () => info.orphans.del(task, handle, inode),
    () => info.inodes.free(task, handle, inode.i_ino),
    () => dquot_free_inode(task, inode),
  );
}

function freeAll(task: Task, handle: Handle, inode: LatchInode): Awaitable<void> {
  if (!inode.mayHaveExtents) return undefined;
  return andThen(inode.extents.tree.isEmpty(task), (empty) =>
    empty ? undefined : freeBlocks(task, handle, inode, 0, MAX_LOGICAL),
  );
}
