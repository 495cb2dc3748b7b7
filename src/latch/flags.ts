/** The flags of chattr that latch keeps, and which of them mean something where (fs/ext4/ext4.h). */

import {
  FS_APPEND_FL,
  FS_CASEFOLD_FL,
  FS_DIRSYNC_FL,
  FS_IMMUTABLE_FL,
  FS_NOATIME_FL,
  FS_NODUMP_FL,
  FS_PROJINHERIT_FL,
  FS_SECRM_FL,
  FS_SYNC_FL,
} from '../uapi/fs.js';
import { S_IFDIR, S_IFMT, S_IFREG } from '../uapi/stat.js';

/** Flags that can be set. */
export const SETTABLE =
  FS_SECRM_FL |
  FS_SYNC_FL |
  FS_IMMUTABLE_FL |
  FS_APPEND_FL |
  FS_NODUMP_FL |
  FS_NOATIME_FL |
  FS_DIRSYNC_FL |
  FS_CASEFOLD_FL |
  FS_PROJINHERIT_FL;

/** Flags that what is made in a directory gets from it (EXT4_FL_INHERITED). */
const INHERITED =
  FS_SECRM_FL | FS_SYNC_FL | FS_NODUMP_FL | FS_NOATIME_FL | FS_DIRSYNC_FL | FS_CASEFOLD_FL | FS_PROJINHERIT_FL;

/** Those of `flags` that mean something for a file of that mode (ext4_mask_flags). */
export function mask_flags(mode: number, flags: number): number {
  const type = mode & S_IFMT;
  if (type === S_IFDIR) return flags;
  if (type === S_IFREG) return flags & ~(FS_DIRSYNC_FL | FS_CASEFOLD_FL | FS_PROJINHERIT_FL);
  return flags & (FS_NODUMP_FL | FS_NOATIME_FL);
}

/** The flags of what is made with that mode in a directory that has `flags`. */
export function inherited_flags(mode: number, flags: number): number {
  return mask_flags(mode, flags & INHERITED);
}
