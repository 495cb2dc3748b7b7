/** How many names an inode has (fs/inode.c). */
import { errno } from '../sched/errno.js';
import type { Inode } from './inode.js';

/** @throws EMLINK where the filesystem's limit is reached */
export function inc_nlink(inode: Inode, max = 0xffffffff): void {
  if (inode.i_nlink >= max) throw errno('EMLINK');
  inode.i_nlink++;
}

/** @throws EIO where it has none */
export function drop_nlink(inode: Inode): void {
  if (inode.i_nlink === 0) throw errno('EIO', `inode ${inode.i_ino} has no link to drop`);
  inode.i_nlink--;
}
