/** Names that come to what is there, and go. Called with i_rwsem held as the contract says. */
import { d_instantiate } from '../fs/dcache-alias.js';
import type { Dentry } from '../fs/dentry.js';
import { type Inode, inode_links } from '../fs/inode.js';
import { inode_set_ctime_current } from '../fs/time.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { changed, checkEmpty, dec_count, dirty, dropped, dtype, mayBeIn, namesToChange } from './dir-change.js';
import { CREDITS, infoOf, with_handle } from './info.js';
import { latchInode } from './inode.js';
import type { Handle } from './journal/types.js';

/** ->link (ext4_link). With i_rwsem of both held, as the row says. @throws EMLINK EXDEV for another project; ENOSPC EIO */
export function link(task: Task, old: Dentry, dir: Inode, dentry: Dentry): Awaitable<void> {
  const inode = old.d_inode;
  if (inode === undefined) throw errno('ENOENT');
  if (inode.i_nlink >= 65000) throw errno('EMLINK');
  mayBeIn(dir, inode);
  return andThen(with_handle(task, infoOf(dir.i_sb), linkIn, CREDITS, dir, dentry, inode), linked, task, dentry, inode);
}

function linked(_done: void, task: Task, dentry: Dentry, inode: Inode): void {
  inode.i_count++;
  d_instantiate(task, dentry, inode);
}

function linkIn(handle: Handle, task: Task, dir: Inode, dentry: Dentry, inode: Inode): Awaitable<void> {
  const added = namesToChange(task, dir).add(task, handle, dentry.d_name, inode.i_ino, dtype(inode));
  const named = andThen(andThen(added, notAnOrphan, task, handle, inode), oneMore, task, handle, inode);
  return andThen(named, dirtyDir, task, handle, dir);
}

function notAnOrphan(_added: void, task: Task, handle: Handle, inode: Inode): Awaitable<void> {
  return infoOf(inode.i_sb).orphans.del(task, handle, latchInode(inode));
}

function oneMore(_named: void, task: Task, handle: Handle, inode: Inode): Awaitable<void> {
  inode_links(task, inode).i_nlink++;
  inode_set_ctime_current(inode);
  return changed(task, handle, inode);
}

function dirtyDir(_changed: void, task: Task, handle: Handle, dir: Inode): Awaitable<void> {
  return dirty(task, handle, dir);
}

/** ->unlink (ext4_unlink). The inode goes when nobody uses it any more. @throws EIO */
export function unlink(task: Task, dir: Inode, dentry: Dentry): Awaitable<void> {
  const inode = dentry.d_inode;
  if (inode === undefined) throw errno('ENOENT');
  return with_handle(task, infoOf(dir.i_sb), unlinkIn, CREDITS, dir, dentry, inode);
}

function unlinkIn(handle: Handle, task: Task, dir: Inode, dentry: Dentry, inode: Inode): Awaitable<void> {
  const removed = namesToChange(task, dir).remove(task, handle, dentry.d_name);
  return andThen(andThen(removed, oneLess, task, handle, inode), dirtyDir, task, handle, dir);
}

function oneLess(_removed: void, task: Task, handle: Handle, inode: Inode): Awaitable<void> {
  dec_count(task, inode);
  return dropped(task, handle, inode);
}

/** ->rmdir (ext4_rmdir). @throws ENOTEMPTY EIO */
export function rmdir(task: Task, dir: Inode, dentry: Dentry): Awaitable<void> {
  const inode = dentry.d_inode;
  if (inode === undefined) throw errno('ENOENT');
  return andThen(checkEmpty(task, inode), rmdirEmpty, task, dir, dentry, inode);
}

function rmdirEmpty(_empty: void, task: Task, dir: Inode, dentry: Dentry, inode: Inode): Awaitable<void> {
  return with_handle(task, infoOf(dir.i_sb), rmdirIn, CREDITS, dir, dentry, inode);
}

function rmdirIn(handle: Handle, task: Task, dir: Inode, dentry: Dentry, inode: Inode): Awaitable<void> {
  const removed = namesToChange(task, dir).remove(task, handle, dentry.d_name);
  return andThen(andThen(removed, noneLeft, task, handle, inode, dir), dirtyDir, task, handle, dir);
}

function noneLeft(_removed: void, task: Task, handle: Handle, inode: Inode, dir: Inode): Awaitable<void> {
  inode_links(task, inode).i_nlink = 0;
  dec_count(task, dir);
  return dropped(task, handle, inode);
}
