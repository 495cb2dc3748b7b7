/** What changes in directories have in common: which locks they need, and what else changes with the entries. */

import { type Inode, inode_links } from '../fs/inode.js';
import { IS_DIRSYNC } from '../fs/sync-flags.js';
import { dir_changed, inode_set_ctime_current } from '../fs/time.js';
import { GUARDED, guard_read, guard_write } from '../locking/guarded.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { FS_PROJINHERIT_FL } from '../uapi/fs.js';
import { S_IFDIR, S_IFMT } from '../uapi/stat.js';
import type { Directory } from './dir.js';
import { infoOf } from './info.js';
import { latchInode } from './inode.js';
import { writeInode } from './inode-disk.js';
import type { Handle } from './journal/types.js';

/** DT_* of an inode. */
export function dtype(inode: Inode): number {
  return (inode.i_mode & S_IFMT) >>> 12;
}

/** Whether it is a directory, also while it is being made. */
export function isDir(inode: Inode): boolean {
  return (inode.i_mode & S_IFMT) === S_IFDIR;
}

/** Of an inode has changed what its slot on the device says. */
export function changed(task: Task, handle: Handle, inode: Inode): Awaitable<void> {
  return writeInode(task, handle, infoOf(inode.i_sb), latchInode(inode));
}

/** The entries of a directory have changed; whoever changed them waits until that is on the device, where the directory is to be like that. */
export function dirty(task: Task, handle: Handle, dir: Inode): Awaitable<void> {
  if (IS_DIRSYNC(dir)) handle.sync = true;
  dir_changed(dir);
  return changed(task, handle, dir);
}

/** A link less, but never fewer than there can be: a damaged inode may say too few (ext4_dec_count). i_rwsem is held exclusively. */
export function dec_count(task: Task, inode: Inode): void {
  const links = inode_links(task, inode);
  if (inode.i_nlink > (isDir(inode) ? 2 : 0)) links.i_nlink--;
}

/** A name of an inode is gone: without any it is on the orphan list until nobody has it open. */
export function dropped(task: Task, handle: Handle, inode: Inode): Awaitable<void> {
  inode_set_ctime_current(inode);
  if (inode.i_nlink > 0) return changed(task, handle, inode);
  return infoOf(inode.i_sb).orphans.add(task, handle, latchInode(inode));
}

/** The names of a directory, to look at: its i_rwsem is held. */
export function namesToRead(task: Task, dir: Inode): Directory {
  guard_read(task, GUARDED.dir_entries, dir.i_rwsem);
  return latchInode(dir).directory;
}

/** The names of a directory, to change: its i_rwsem is held exclusively. */
export function namesToChange(task: Task, dir: Inode): Directory {
  guard_write(task, GUARDED.dir_entries, dir.i_rwsem);
  return latchInode(dir).directory;
}

/** What belongs to a project stays in directories of it: others make a copy, which is charged. @throws EXDEV */
export function mayBeIn(dir: Inode, inode: Inode): void {
  const { flags, i_projid } = latchInode(dir);
  if ((flags & FS_PROJINHERIT_FL) !== 0 && i_projid !== inode.i_projid) throw errno('EXDEV');
}

/** A directory whose i_rwsem is held has no entry. @throws ENOTEMPTY EIO */
export function checkEmpty(task: Task, inode: Inode): Awaitable<void> {
  return andThen(namesToRead(task, inode).isEmpty(task), (empty) => {
    if (!empty) throw errno('ENOTEMPTY');
  });
}
