/** The end of inode objects (after ext4's inode cache): taken apart when nobody can see them any more. */
import type { Inode } from '../fs/inode.js';
import { SB_RDONLY } from '../fs/super-block.js';
import { infoOf } from './info.js';
import { type LatchInode, latchInode } from './inode.js';

/** Its eviction has failed: the device has it on the orphan list, and it keeps its place in that until the unmount. */
function left(inode: LatchInode): boolean {
  return infoOf(inode.i_sb).orphans.has(inode);
}

/** Nobody refers to the inode any more. What it still owes is said to the administrator (ext4_destroy_inode). */
export function destroy_inode(given: Inode): void {
  const inode = latchInode(given);
  const { i_sb: sb, delayed, i_ino } = inode;
  if (delayed !== 0) sb.machine.printk?.(`${sb.s_id}: inode ${i_ino} goes with ${delayed} promised blocks`);
  if (left(inode) && (sb.s_flags & SB_RDONLY) === 0) {
    sb.machine.printk?.(`${sb.s_id}: inode ${i_ino} could not be deleted: the next mount does it`);
  }
}

/** No RCU section can see the inode any more (ext4_free_in_core_inode): whoever comes to it now is told that it is too late. */
export function free_inode(given: Inode): void {
  const inode = latchInode(given);
  if (!left(inode)) inode.free();
}
