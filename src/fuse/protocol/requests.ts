// The decoded requests: one interface a request body, fields spelt as in include/uapi/linux/fuse.h. Names are byte strings (latin1, one
// character a byte). Sizes and offsets are numbers; offsets beyond 2^53-1 arrive as 2^53-1.

import type { Message, U64 } from './message.js';

/** struct fuse_in_header */
export interface RequestHeader {
  /** bytes of the whole message */
  readonly len: number;
  readonly opcode: number;
  /** the request's identity, to be echoed exactly */
  readonly unique: U64;
  readonly nodeid: number;
  readonly uid: number;
  readonly gid: number;
  /** the caller's thread id in the daemon's pid namespace, 0 when not visible from there */
  readonly pid: number;
  /** bytes of extensions at the end of the message (total_extlen is in units of 8) */
  readonly extlen: number;
}

export interface Time {
  readonly sec: number;
  readonly nsec: number;
}

/** One security label that the caller wants on the new inode. */
export interface SecurityContext {
  readonly name: string;
  /** a copy */
  readonly context: Buffer;
}

/** What may follow the names of a create-type request. */
export interface CreateExtensions {
  readonly secctx: readonly SecurityContext[];
  /** the caller's supplementary group that matches the parent directory's, none or one */
  readonly groups: readonly number[];
}

export interface NameIn {
  readonly name: string;
}
export interface ForgetIn {
  readonly nlookup: number;
}
export interface ForgetOne {
  readonly nodeid: number;
  readonly nlookup: number;
}
export interface BatchForgetIn {
  readonly forgets: readonly ForgetOne[];
}
export interface GetattrIn {
  /** GETATTR_FH: fh is valid */
  readonly getattr_flags: number;
  readonly fh: number;
}
export interface SetattrIn {
  /** FATTR bits */
  readonly valid: number;
  readonly fh: number;
  readonly size: number;
  /** 0 unless FATTR.LOCKOWNER */
  readonly lock_owner: U64;
  readonly atime: Time;
  readonly mtime: Time;
  readonly ctime: Time;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}
export interface SymlinkIn extends CreateExtensions {
  readonly name: string;
  readonly target: string;
}
export interface MknodIn extends CreateExtensions {
  readonly name: string;
  readonly mode: number;
  /** as the kernel's new_encode_dev: minor's low byte, 12 bits of major, the rest of minor */
  readonly rdev: number;
  readonly umask: number;
}
export interface MkdirIn extends CreateExtensions {
  readonly name: string;
  readonly mode: number;
  readonly umask: number;
}
/** CREATE and TMPFILE (whose name is '' : the kernel sends "/"). */
export interface CreateIn extends CreateExtensions {
  readonly name: string;
  /** open(2) flags */
  readonly flags: number;
  readonly mode: number;
  readonly umask: number;
  /** OPEN_KILL_SUIDGID */
  readonly open_flags: number;
}
/** RENAME (flags 0) and RENAME2. */
export interface RenameIn {
  readonly name: string;
  readonly newdir: number;
  readonly newname: string;
  /** renameat2(2) flags */
  readonly flags: number;
}
export interface LinkIn {
  readonly oldnodeid: number;
  readonly name: string;
}
/** OPEN and OPENDIR. */
export interface OpenIn {
  readonly flags: number;
  readonly open_flags: number;
}
/** READ, READDIR and READDIRPLUS; the lock owner, when READ_LOCKOWNER is set, by `readLockOwner`. */
export interface ReadIn {
  readonly fh: number;
  readonly offset: number;
  readonly size: number;
  readonly read_flags: number;
  /** the file's open(2) flags */
  readonly flags: number;
}
/** WRITE; the data are `message.bytes` from `start`, `size` bytes, valid until the message goes back to its pool. */
export interface WriteIn {
  readonly fh: number;
  readonly offset: number;
  readonly size: number;
  /** WRITE bits */
  readonly write_flags: number;
  readonly flags: number;
  readonly message: Message;
  readonly start: number;
}
/** RELEASE and RELEASEDIR. */
export interface ReleaseIn {
  readonly fh: number;
  readonly flags: number;
  /** RELEASE bits */
  readonly release_flags: number;
  readonly lock_owner: U64;
}
export interface FlushIn {
  readonly fh: number;
  readonly lock_owner: U64;
}
/** FSYNC and FSYNCDIR. */
export interface FsyncIn {
  readonly fh: number;
  /** FSYNC_FDATASYNC */
  readonly fsync_flags: number;
}
export interface SetxattrIn {
  readonly name: string;
  /** a copy */
  readonly value: Buffer;
  /** XATTR_CREATE, XATTR_REPLACE */
  readonly flags: number;
  readonly setxattr_flags: number;
}
/** GETXATTR, and LISTXATTR with name ''. size 0 asks for the size alone. */
export interface GetxattrIn {
  readonly name: string;
  readonly size: number;
}
/** GETLK, SETLK and SETLKW. end is 2^53-1 for "to the end of the file". */
export interface LkIn {
  readonly fh: number;
  readonly owner: U64;
  readonly start: number;
  readonly end: number;
  /** LockType */
  readonly type: number;
  readonly pid: number;
  /** LK_FLOCK */
  readonly lk_flags: number;
}
export interface AccessIn {
  readonly mask: number;
}
export interface InitIn {
  readonly major: number;
  readonly minor: number;
  readonly max_readahead: number;
  readonly flags: number;
  /** 0 without INIT_EXT */
  readonly flags2: number;
}
export interface InterruptIn {
  /** of the request that the caller no longer wants */
  readonly unique: U64;
}
export interface BmapIn {
  readonly block: number;
  readonly blocksize: number;
}
export interface IoctlIn {
  readonly fh: number;
  /** IOCTL bits */
  readonly flags: number;
  readonly cmd: number;
  readonly arg: U64;
  /** what the caller passes in: a copy, in_size bytes */
  readonly data: Buffer;
  readonly out_size: number;
}
export interface PollIn {
  readonly fh: number;
  /** to be named in a later notification */
  readonly kh: U64;
  /** POLL_SCHEDULE_NOTIFY */
  readonly flags: number;
  readonly events: number;
}
/** The answer to notify RETRIEVE; its data are in the message, as WRITE's; the header's unique is the notification's. */
export interface NotifyReplyIn {
  readonly offset: number;
  readonly size: number;
  readonly message: Message;
  readonly start: number;
}
export interface FallocateIn {
  readonly fh: number;
  readonly offset: number;
  readonly length: number;
  readonly mode: number;
}
export interface LseekIn {
  readonly fh: number;
  /** may be negative, as the caller gave it */
  readonly offset: number;
  readonly whence: number;
}
/** COPY_FILE_RANGE and COPY_FILE_RANGE_64. */
export interface CopyFileRangeIn {
  readonly fh_in: number;
  readonly off_in: number;
  readonly nodeid_out: number;
  readonly fh_out: number;
  readonly off_out: number;
  readonly len: number;
  readonly flags: number;
}
export interface SetupmappingIn {
  readonly fh: number;
  readonly foffset: number;
  readonly len: number;
  /** 1 write, 2 read */
  readonly flags: number;
  readonly moffset: number;
}
export interface RemovemappingIn {
  readonly ranges: readonly { readonly moffset: number; readonly len: number }[];
}
export interface StatxIn {
  readonly getattr_flags: number;
  readonly fh: number;
  readonly sx_flags: number;
  readonly sx_mask: number;
}

/** What was negotiated and decides how requests are laid out; `negotiate` gives it, `DEFAULT_WIRE` is for tests. */
export interface Wire {
  readonly minor: number;
  /** SETXATTR_EXT: setxattr_in has its long form */
  readonly setxattrExt: boolean;
  /** SECURITY_CTX or CREATE_SUPP_GROUP: create-type requests may carry extensions */
  readonly extensions: boolean;
  /** longest component name in bytes; longer ones are ENAMETOOLONG */
  readonly nameMax: number;
}
export const DEFAULT_WIRE: Wire = { minor: 45, setxattrExt: true, extensions: true, nameMax: 255 };
