/** Small structures that cross the line between VFS and filesystem: kstat, iattr, kstatfs, dir_context, fileattr, fiemap. */
import type { Timespec } from '../sched/time.js';
import type { File } from './file.js';

/** struct kstat. */
export interface Kstat {
  ino: number;
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  rdev: number;
  /** Bytes. */
  size: number;
  /** Units of 512 bytes. */
  blocks: number;
  /** Preferred size of I/O, bytes. */
  blksize: number;
  atime: Timespec;
  mtime: Timespec;
  ctime: Timespec;
  btime: Timespec | undefined;
  /** STATX_ATTR_* that are set, and those that the filesystem knows. */
  attributes: number;
  attributes_mask: number;
}

/** struct iattr: what to change; a field that is absent stays. */
export interface Iattr {
  mode?: number;
  uid?: number;
  gid?: number;
  /** Bytes. */
  size?: number;
  /** ATTR_ATIME with ATTR_ATIME_SET, or 'now' for UTIME_NOW. */
  atime?: Timespec | 'now';
  mtime?: Timespec | 'now';
  /** A ctime chosen by the caller: the kernel with its writeback cache. */
  ctime?: Timespec;
  /** The open file through which it was asked for (ftruncate, fchmod). */
  file?: File;
  /** ATTR_KILL_SUID, ATTR_KILL_SGID, ATTR_KILL_PRIV: remove setuid and setgid as a write or truncate does. */
  kill_suidgid?: boolean;
  /** ATTR_FORCE: not a request of the caller, so its permissions do not matter. */
  force?: boolean;
  /** ATTR_OPEN: truncation by open(O_TRUNC). */
  open?: boolean;
}

/** struct kstatfs. */
export interface Kstatfs {
  f_type: number;
  f_bsize: number;
  f_frsize: number;
  f_blocks: number;
  f_bfree: number;
  f_bavail: number;
  f_files: number;
  f_ffree: number;
  f_namelen: number;
  f_fsid: number;
  f_flags: number;
}

/** struct dir_context. */
export interface DirContext {
  /** Where to go on: 0 at first, then what the filesystem gave with the last entry. Below 2^53. */
  pos: number;
  /**
   * Take one entry (dir_emit). `next` is the position after it. @returns false where the buffer is full; the entry was not taken then.
   */
  actor(name: string, ino: number, type: number, next: number): boolean;
}

/** struct fileattr: chattr flags. */
export interface FileAttr {
  /** FS_IOC_GETFLAGS bits: FS_IMMUTABLE_FL … */
  flags: number;
  fsx_xflags: number;
  fsx_extsize: number;
  fsx_nextents: number;
  fsx_projid: number;
  fsx_cowextsize: number;
}

/** struct fiemap_extent_info. */
export interface FiemapInfo {
  readonly flags: number;
  /** The most extents to report; 0 only counts. */
  readonly max: number;
  readonly extents: FiemapExtent[];
  mapped: number;
}

export interface FiemapExtent {
  readonly logical: number;
  readonly physical: number;
  readonly length: number;
  /** FIEMAP_EXTENT_*. */
  readonly flags: number;
}
