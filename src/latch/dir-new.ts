/** Fresh inodes, before they have a name. */
import { insert_inode_locked, iput, new_inode, unlock_new_inode } from '../fs/icache.js';
import { type Inode, inode_init } from '../fs/inode.js';
import { inode_init_owner } from '../fs/inode-owner.js';
import { current_time } from '../fs/time.js';
import { type Awaitable, andThen, orElse } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import { chargeInode, inheritedProject } from './charge.js';
import { inherited_flags } from './flags.js';
import { infoOf } from './info.js';
import { applyFlags, type LatchInode, latchInode, setOps } from './inode.js';
import type { Handle } from './journal/types.js';

/** A fresh inode on the device, with one link, still I_NEW. @throws ENOSPC EDQUOT */
export function newInode(task: Task, handle: Handle, dir: Inode, mode: number, rdev: number): Awaitable<LatchInode> {
  return andThen(infoOf(dir.i_sb).inodes.allocate(task, handle, mode), fillNew, task, handle, dir, mode, rdev);
}

function fillNew(
  ino: number,
  task: Task,
  handle: Handle,
  dir: Inode,
  mode: number,
  rdev: number,
): Awaitable<LatchInode> {
  const { super: disk } = infoOf(dir.i_sb);
  const inode = latchInode(new_inode(task, dir.i_sb));
  inode.i_ino = ino;
  inode_init_owner(task, inode, dir, mode);
  inode.i_rdev = rdev;
  inode.flags = inherited_flags(mode, latchInode(dir).flags);
  if (inode.flags !== 0) applyFlags(inode, inode_init(inode));
  inode.i_projid = inheritedProject(latchInode(dir));
  inode.i_generation = disk.generation;
  disk.generation = (disk.generation + 1) >>> 0;
  inode.i_atime = inode.i_mtime = inode.i_ctime = inode.i_btime = current_time(inode);
  setOps(inode);
  return andThen(orElse(chargeNew, giveNew, task, handle, inode), insertNew, task, inode);
}

function chargeNew(task: Task, _handle: Handle, inode: LatchInode): Awaitable<void> {
  return chargeInode(task, inode);
}

function giveNew(error: unknown, task: Task, handle: Handle, inode: LatchInode): Awaitable<never> {
  return giveInode(task, handle, inode, error);
}

function insertNew(_charged: void, task: Task, inode: LatchInode): LatchInode {
  insert_inode_locked(task, inode);
  return inode;
}

/** Nobody may be charged for a fresh inode that nobody has seen. */
function giveInode(task: Task, handle: Handle, inode: LatchInode, error: unknown): Awaitable<never> {
  return andThen(infoOf(inode.i_sb).inodes.free(task, handle, inode.i_ino), () => {
    throw error;
  });
}

/** A fresh inode gets no name: whatever happens next, it is to be deleted. */
export function nameless(task: Task, handle: Handle, inode: LatchInode, error: unknown): Awaitable<never> {
  inode_init(inode).i_nlink = 0;
  return andThen(infoOf(inode.i_sb).orphans.add(task, handle, inode), () => {
    throw error;
  });
}

/** Let a fresh inode go that got no name, and throw what came in between. */
export async function discard(task: Task, inode: LatchInode | undefined, error: unknown): Promise<never> {
  if (inode !== undefined) {
    inode_init(inode).i_nlink = 0;
    unlock_new_inode(task, inode);
    await iput(task, inode);
  }
  throw error;
}
