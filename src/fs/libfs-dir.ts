/** Operations of directories that live in the dcache (fs/libfs.c): what a filesystem without a device needs besides making inodes. */

import { GUARDED, guard_write } from '../locking/guarded.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { RENAME_EXCHANGE, RENAME_NOREPLACE } from '../uapi/fs.js';
import { dget, dput } from './dcache.js';
import { d_instantiate } from './dcache-alias.js';
import { DCACHE_PERSISTENT, type Dentry, inodeOf } from './dentry.js';
import { ihold } from './icache.js';
import { type Inode, isDir } from './inode.js';
import { type OffsetCtx, simple_offset_add, simple_offset_exchange, simple_offset_remove } from './libfs.js';
import { drop_nlink, inc_nlink } from './nlink.js';
import { dir_changed, inode_set_ctime_current } from './time.js';

/** The positions of a directory's entries; i_rwsem of the directory is held exclusively. @throws ENOTDIR where it does not keep any */
function entriesOf(task: Task, dir: Inode): OffsetCtx {
  guard_write(task, GUARDED.dir_entries, dir.i_rwsem);
  const { get_offset_ctx } = dir.i_op;
  if (get_offset_ctx === undefined) throw errno('ENOTDIR');
  return get_offset_ctx(task, dir);
}

/**
 * Give a name in `dir` its inode, and keep it in the dcache until it is removed (d_make_persistent, simple_offset_add). Takes over the reference to the inode.
 * i_rwsem of the directory is held exclusively.
 */
export function simple_instantiate(task: Task, dir: Inode, dentry: Dentry, inode: Inode): void {
  const entries = entriesOf(task, dir);
  d_instantiate(task, dentry, inode);
  dget(dentry);
  dentry.d_flags |= DCACHE_PERSISTENT;
  simple_offset_add(entries, dentry);
  if (isDir(inode)) inc_nlink(task, dir);
  dir_changed(dir);
}

/** ->link (simple_link). Locks: the row of link. */
export function simple_link(task: Task, old: Dentry, dir: Inode, dentry: Dentry): void {
  const inode = inodeOf(old);
  inc_nlink(task, inode);
  inode_set_ctime_current(inode);
  ihold(inode);
  simple_instantiate(task, dir, dentry, inode);
}

/** ->unlink (simple_unlink). Locks: the row of unlink. */
export function simple_unlink(task: Task, dir: Inode, dentry: Dentry): Awaitable<void> {
  const inode = inodeOf(dentry);
  simple_offset_remove(entriesOf(task, dir), dentry);
  drop_nlink(task, inode);
  inode_set_ctime_current(inode);
  dir_changed(dir);
  dentry.d_flags &= ~DCACHE_PERSISTENT;
  return dput(task, dentry);
}

/** Whether a directory has no entries (simple_empty). */
export function simple_empty(task: Task, dentry: Dentry): boolean {
  const inode = inodeOf(dentry);
  return (inode.i_op.get_offset_ctx?.(task, inode).entries.size ?? 0) === 0;
}

/** ->rmdir (simple_rmdir). Locks: the row of rmdir. @throws ENOTEMPTY */
export function simple_rmdir(task: Task, dir: Inode, dentry: Dentry): Awaitable<void> {
  if (!simple_empty(task, dentry)) throw errno('ENOTEMPTY');
  drop_nlink(task, inodeOf(dentry));
  drop_nlink(task, dir);
  return simple_unlink(task, dir, dentry);
}

/**
 * ->rename (simple_rename). Locks: the row of rename.
 * @param flags RENAME_NOREPLACE, which the VFS has seen to, and RENAME_EXCHANGE
 * @throws EINVAL for others; ENOTEMPTY
 */
export function simple_rename(
  task: Task,
  oldDir: Inode,
  old: Dentry,
  newDir: Inode,
  dentry: Dentry,
  flags: number,
): Awaitable<void> {
  if ((flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE)) !== 0) throw errno('EINVAL');
  if ((flags & RENAME_EXCHANGE) !== 0) return exchange(task, oldDir, old, newDir, dentry);
  if (dentry.isNegative) return moved(undefined, task, oldDir, old, newDir);
  const remove = isDir(inodeOf(old)) ? simple_rmdir : simple_unlink;
  return andThen(remove(task, newDir, dentry), moved, task, oldDir, old, newDir);
}

function moved(_removed: void, task: Task, oldDir: Inode, old: Dentry, newDir: Inode): void {
  simple_offset_remove(entriesOf(task, oldDir), old);
  simple_offset_add(entriesOf(task, newDir), old);
  if (isDir(inodeOf(old)) && oldDir !== newDir) {
    drop_nlink(task, oldDir);
    inc_nlink(task, newDir);
  }
  renamed(oldDir, newDir, inodeOf(old));
}

function renamed(oldDir: Inode, newDir: Inode, ...inodes: Inode[]): void {
  dir_changed(oldDir);
  dir_changed(newDir);
  for (const inode of inodes) inode_set_ctime_current(inode);
}

/** RENAME_EXCHANGE (simple_rename_exchange): each name takes the place of the other. */
function exchange(task: Task, oldDir: Inode, old: Dentry, newDir: Inode, dentry: Dentry): void {
  const [inode, other] = [inodeOf(old), inodeOf(dentry)];
  simple_offset_exchange(entriesOf(task, oldDir), old, entriesOf(task, newDir), dentry);
  if (oldDir !== newDir && isDir(inode) !== isDir(other)) {
    const [loses, gains] = isDir(inode) ? [oldDir, newDir] : [newDir, oldDir];
    drop_nlink(task, loses);
    inc_nlink(task, gains);
  }
  renamed(oldDir, newDir, inode, other);
}
