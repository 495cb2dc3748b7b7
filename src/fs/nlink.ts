/** How many names an inode has (fs/inode.c). */
import { GUARDED, guard_write } from '../locking/guarded.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { Inode } from './inode.js';

/** One name more. i_rwsem is held exclusively. @throws EMLINK where the filesystem's limit is reached */
export function inc_nlink(task: Task, inode: Inode, max = 0xffffffff): void {
  guard_write(task, GUARDED.i_links, inode.i_rwsem);
  if (inode.i_nlink >= max) throw errno('EMLINK');
  inode.i_nlink++;
}

/** One name less. i_rwsem is held exclusively. @throws EIO where it has none */
export function drop_nlink(task: Task, inode: Inode): void {
  guard_write(task, GUARDED.i_links, inode.i_rwsem);
  if (inode.i_nlink === 0) throw errno('EIO', `inode ${inode.i_ino} has no link to drop`);
  inode.i_nlink--;
}
