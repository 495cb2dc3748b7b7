// The flag words and small enumerations of the FUSE protocol (7.31 to 7.45), spelt as include/uapi/linux/fuse.h spells them.

/** The protocol versions this package speaks: `FUSE_KERNEL_VERSION`.`OLDEST_MINOR` to `.NEWEST_MINOR`. */
export const FUSE_KERNEL_VERSION = 7;
export const OLDEST_MINOR = 31;
export const NEWEST_MINOR = 45;

/** Node id of the root inode. */
export const FUSE_ROOT_ID = 1;
/** The read buffer must hold at least this many bytes. */
export const FUSE_MIN_READ_BUFFER = 8192;
export const FUSE_INVALID_UIDGID = 0xffffffff;
export const FUSE_IOCTL_MAX_IOV = 256;

/** setattr_in.valid */
export const FATTR = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  FH: 1 << 6,
  ATIME_NOW: 1 << 7,
  MTIME_NOW: 1 << 8,
  LOCKOWNER: 1 << 9,
  CTIME: 1 << 10,
  KILL_SUIDGID: 1 << 11,
} as const;

/** open_out.open_flags */
export const FOPEN = {
  DIRECT_IO: 1 << 0,
  KEEP_CACHE: 1 << 1,
  NONSEEKABLE: 1 << 2,
  CACHE_DIR: 1 << 3,
  STREAM: 1 << 4,
  NOFLUSH: 1 << 5,
  PARALLEL_DIRECT_WRITES: 1 << 6,
  PASSTHROUGH: 1 << 7,
} as const;

/** init_in.flags and init_out.flags, the low word. */
export const INIT = {
  ASYNC_READ: 1 << 0,
  POSIX_LOCKS: 1 << 1,
  FILE_OPS: 1 << 2,
  ATOMIC_O_TRUNC: 1 << 3,
  EXPORT_SUPPORT: 1 << 4,
  BIG_WRITES: 1 << 5,
  DONT_MASK: 1 << 6,
  SPLICE_WRITE: 1 << 7,
  SPLICE_MOVE: 1 << 8,
  SPLICE_READ: 1 << 9,
  FLOCK_LOCKS: 1 << 10,
  HAS_IOCTL_DIR: 1 << 11,
  AUTO_INVAL_DATA: 1 << 12,
  DO_READDIRPLUS: 1 << 13,
  READDIRPLUS_AUTO: 1 << 14,
  ASYNC_DIO: 1 << 15,
  WRITEBACK_CACHE: 1 << 16,
  NO_OPEN_SUPPORT: 1 << 17,
  PARALLEL_DIROPS: 1 << 18,
  HANDLE_KILLPRIV: 1 << 19,
  POSIX_ACL: 1 << 20,
  ABORT_ERROR: 1 << 21,
  MAX_PAGES: 1 << 22,
  CACHE_SYMLINKS: 1 << 23,
  NO_OPENDIR_SUPPORT: 1 << 24,
  EXPLICIT_INVAL_DATA: 1 << 25,
  MAP_ALIGNMENT: 1 << 26,
  SUBMOUNTS: 1 << 27,
  HANDLE_KILLPRIV_V2: 1 << 28,
  SETXATTR_EXT: 1 << 29,
  INIT_EXT: 1 << 30,
} as const;

/** init_in.flags2 and init_out.flags2: bits 32 to 63 of the flag word, shifted down. */
export const INIT2 = {
  SECURITY_CTX: 1 << 0,
  HAS_INODE_DAX: 1 << 1,
  CREATE_SUPP_GROUP: 1 << 2,
  HAS_EXPIRE_ONLY: 1 << 3,
  DIRECT_IO_ALLOW_MMAP: 1 << 4,
  PASSTHROUGH: 1 << 5,
  NO_EXPORT_SUPPORT: 1 << 6,
  HAS_RESEND: 1 << 7,
  ALLOW_IDMAP: 1 << 8,
  OVER_IO_URING: 1 << 9,
  REQUEST_TIMEOUT: 1 << 10,
} as const;

/** open_in.open_flags and create_in.open_flags */
export const OPEN_KILL_SUIDGID = 1 << 0;
/** release_in.release_flags */
export const RELEASE = { FLUSH: 1 << 0, FLOCK_UNLOCK: 1 << 1 } as const;
/** getattr_in.getattr_flags and statx_in.getattr_flags */
export const GETATTR_FH = 1 << 0;
/** lk_in.lk_flags: the request is flock(2)'s, not fcntl(2)'s */
export const LK_FLOCK = 1 << 0;
/** write_in.write_flags */
export const WRITE = { CACHE: 1 << 0, LOCKOWNER: 1 << 1, KILL_SUIDGID: 1 << 2 } as const;
/** read_in.read_flags */
export const READ_LOCKOWNER = 1 << 1;
/** ioctl_in.flags and ioctl_out.flags */
export const IOCTL = {
  COMPAT: 1 << 0,
  UNRESTRICTED: 1 << 1,
  RETRY: 1 << 2,
  IS_32BIT: 1 << 3,
  DIR: 1 << 4,
  COMPAT_X32: 1 << 5,
} as const;
/** poll_in.flags */
export const POLL_SCHEDULE_NOTIFY = 1 << 0;
/** fsync_in.fsync_flags */
export const FSYNC_FDATASYNC = 1 << 0;
/** fuse_attr.flags */
export const ATTR = { SUBMOUNT: 1 << 0, DAX: 1 << 1 } as const;
/** setxattr_in.setxattr_flags */
export const SETXATTR_ACL_KILL_SGID = 1 << 0;
/** notify_inval_entry_out.flags */
export const EXPIRE_ONLY = 1 << 0;
/** Extension types up to this number are a security context header whose count is the type. */
export const MAX_NR_SECCTX = 31;
export const EXT_GROUPS = 32;

/** enum fuse_notify_code: the `error` field of an unsolicited message. */
export const Notify = {
  POLL: 1,
  INVAL_INODE: 2,
  INVAL_ENTRY: 3,
  STORE: 4,
  RETRIEVE: 5,
  DELETE: 6,
  RESEND: 7,
  INC_EPOCH: 8,
  PRUNE: 9,
} as const;

/** Type numbers of fuse_file_lock.type (fcntl's). */
export const LockType = { RDLCK: 0, WRLCK: 1, UNLCK: 2 } as const;

/** Type numbers of directory entries (S_IFMT >> 12). */
export const DirentType = { UNKNOWN: 0, FIFO: 1, CHR: 2, DIR: 4, BLK: 6, REG: 8, LNK: 10, SOCK: 12 } as const;

/** The names of the bits set in a flag word, for logs: `flagNames(INIT, flags)`; bits without a name appear in hex. */
export function flagNames(table: Readonly<Record<string, number>>, flags: number): string[] {
  const names: string[] = [];
  let rest = flags >>> 0;
  for (const [name, bit] of Object.entries(table)) {
    if ((rest & bit) !== 0) names.push(name);
    rest = (rest & ~bit) >>> 0;
  }
  if (rest !== 0) names.push(`0x${rest.toString(16)}`);
  return names;
}
