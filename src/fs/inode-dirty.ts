/** Inodes that differ from their copy on the device, those that are being written, and those that nobody uses (fs/inode.c, fs/fs-writeback.c). */
import { super_operations as rows } from '../contract/super.js';
import { invoke } from '../locking/context.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import { WaitQueue } from '../sched/wait.js';
import {
  I_DIRTY,
  I_DIRTY_DATASYNC,
  I_DIRTY_SYNC,
  I_DIRTY_TIME,
  I_FREEING,
  I_NEW,
  I_REFERENCED,
  I_SYNC,
  I_WILL_FREE,
  type Inode,
  inode_state_assign,
} from './inode.js';
import { SB_ACTIVE } from './super-block.js';

const I_DIRTY_INODE = I_DIRTY_SYNC | I_DIRTY_DATASYNC;
const I_DIRTY_ALL = I_DIRTY | I_DIRTY_TIME;

/** Who writes an inode (I_SYNC), and who brings it in or takes it apart (I_NEW, I_FREEING): those for whom others wait. */
const writing = new Map<Inode, Task>();
const changing = new Map<Inode, Task>();

/** `task` is to clear the bit again: until then others may wait for that. */
export function inode_busy(task: Task, inode: Inode, bit: typeof I_SYNC | typeof I_NEW | typeof I_FREEING): void {
  (bit === I_SYNC ? writing : changing).set(inode, task);
}

/** Nobody has to be waited for any more. */
export function inode_idle(inode: Inode, bit: typeof I_SYNC | typeof I_NEW | typeof I_FREEING): void {
  (bit === I_SYNC ? writing : changing).delete(inode);
}

/** Sleep until the state of the inode changes (wait_on_inode, __wait_on_freeing_inode). @param bit what is to end */
export function inode_wait(
  task: Task,
  inode: Inode,
  what: string,
  bit: typeof I_SYNC | typeof I_NEW | typeof I_FREEING,
): Promise<void> {
  const busy = (bit === I_SYNC ? writing : changing).get(inode);
  inode.i_wait ??= new WaitQueue();
  return inode.i_wait.wait(task, { what, blockers: () => (busy === undefined ? [] : [busy]) });
}

/** An inode that nobody uses and that is clean can be found again, and freed when room is wanted (inode_add_lru). i_lock is held. */
export function inode_add_lru(task: Task, inode: Inode): void {
  if (inode.i_count > 0 || (inode.i_state & (I_DIRTY_ALL | I_SYNC | I_FREEING | I_WILL_FREE | I_NEW)) !== 0) return;
  if ((inode.i_sb.s_flags & SB_ACTIVE) === 0) return;
  if (inode.lru === undefined) inode.i_sb.s_inode_lru.add(inode);
  else inode_state_assign(task, inode, inode.i_state | I_REFERENCED);
}

/** Sleep until nobody writes the inode (inode_wait_for_writeback). */
export async function inode_wait_for_writeback(task: Task, inode: Inode): Promise<void> {
  while ((inode.i_state & I_SYNC) !== 0) await inode_wait(task, inode, `writeback of inode ${inode.i_ino}`, I_SYNC);
}

/**
 * The inode differs from its copy on the device (__mark_inode_dirty).
 * @param flags I_DIRTY_SYNC for what fdatasync may leave out, I_DIRTY_DATASYNC for what it may not, I_DIRTY_PAGES, I_DIRTY_TIME for times that may wait
 */
export function mark_inode_dirty(task: Task, inode: Inode, flags: number): Awaitable<void> {
  const { dirty_inode } = inode.i_sb.s_op;
  if ((flags & I_DIRTY_INODE) === 0 || dirty_inode === undefined) return listDirty(undefined, task, inode, flags);
  const told = flags & (I_DIRTY_INODE | I_DIRTY_TIME);
  return andThen(invoke(task, rows.dirty_inode, {}, dirty_inode, inode, told), listDirty, task, inode, flags);
}

/** The flusher is to find it. */
function listDirty(_told: void, task: Task, inode: Inode, flags: number): void {
  if ((inode.i_state & I_FREEING) === 0) inode.i_sb.s_wb.mark(task, inode, flags);
}
