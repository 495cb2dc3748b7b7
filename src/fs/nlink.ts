/** How many names an inode has (fs/inode.c). */
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { type Inode, inode_links } from './inode.js';

/** One name more. i_rwsem is held exclusively. @throws EMLINK where the filesystem's limit is reached */
export function inc_nlink(task: Task, inode: Inode, max = 0xffffffff): void {
  const links = inode_links(task, inode);
  if (inode.i_nlink >= max) throw errno('EMLINK');
  links.i_nlink++;
}

/** One name less. i_rwsem is held exclusively. @throws EIO where it has none */
export function drop_nlink(task: Task, inode: Inode): void {
  const links = inode_links(task, inode);
  if (inode.i_nlink === 0) throw errno('EIO', `inode ${inode.i_ino} has no link to drop`);
  links.i_nlink--;
}
