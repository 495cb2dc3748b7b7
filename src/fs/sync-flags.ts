/** What is to be on the device before a system call returns (include/linux/fs.h): by chattr +S and +D, and by the mount options sync and dirsync. */
import { type Inode, S_DIRSYNC, S_SYNC } from './inode.js';
import { SB_DIRSYNC, SB_SYNCHRONOUS } from './super-block.js';

/** Whatever is changed of it. */
export function IS_SYNC({ i_flags, i_sb }: Inode): boolean {
  return (i_flags & S_SYNC) !== 0 || (i_sb.s_flags & SB_SYNCHRONOUS) !== 0;
}

/** Names that come and go in this directory. */
export function IS_DIRSYNC({ i_flags, i_sb }: Inode): boolean {
  return (i_flags & (S_SYNC | S_DIRSYNC)) !== 0 || (i_sb.s_flags & (SB_SYNCHRONOUS | SB_DIRSYNC)) !== 0;
}
