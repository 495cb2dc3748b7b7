// Decoders of the requests about open files and inodes: fixed structs, and the few that carry data. Offsets are those of the C structs
// plus the header's 40 bytes.

import { FATTR, READ_LOCKOWNER } from './flags.js';
import {
  count64,
  exact64,
  id64,
  type Message,
  need,
  offset64,
  ProtocolError,
  signed64,
  type U64,
  u32,
} from './message.js';
import type {
  AccessIn,
  BatchForgetIn,
  BmapIn,
  CopyFileRangeIn,
  FallocateIn,
  FlushIn,
  ForgetIn,
  ForgetOne,
  FsyncIn,
  GetattrIn,
  InitIn,
  InterruptIn,
  IoctlIn,
  LkIn,
  LseekIn,
  NotifyReplyIn,
  OpenIn,
  PollIn,
  ReadIn,
  ReleaseIn,
  RemovemappingIn,
  SetattrIn,
  SetupmappingIn,
  StatxIn,
  WriteIn,
} from './requests.js';

/** READ, READDIR, READDIRPLUS: struct fuse_read_in. */
export function decodeRead(m: Message): ReadIn {
  need(m, 40);
  return { fh: id64(m, 40), offset: offset64(m, 48), size: u32(m, 56), read_flags: u32(m, 60), flags: u32(m, 72) };
}

/** WRITE: struct fuse_write_in, then the data. @throws ProtocolError EINVAL when size is more than what follows */
export function decodeWrite(m: Message): WriteIn {
  need(m, 40);
  const size = u32(m, 56);
  if (size > m.length - 80) throw new ProtocolError('EINVAL', `write of ${size} bytes with ${m.length - 80}`);
  return {
    fh: id64(m, 40),
    offset: offset64(m, 48),
    size,
    write_flags: u32(m, 60),
    flags: u32(m, 72),
    message: m,
    start: 80,
  };
}

/** The lock owner of a READ or WRITE whose flags say that it has one, else 0. Apart, because it is a bigint and hardly ever wanted. */
export function readLockOwner(m: Message): U64 {
  need(m, 40);
  return (u32(m, 60) & READ_LOCKOWNER) !== 0 ? exact64(m, 64) : 0; // WRITE.LOCKOWNER is the same bit
}

/** GETATTR. */
export function decodeGetattr(m: Message): GetattrIn {
  need(m, 16);
  return { getattr_flags: u32(m, 40), fh: id64(m, 48) };
}

/** SETATTR: what `valid` does not name is 0. */
export function decodeSetattr(m: Message): SetattrIn {
  need(m, 88);
  const valid = u32(m, 40);
  return {
    valid,
    fh: (valid & FATTR.FH) !== 0 ? id64(m, 48) : 0,
    size: (valid & FATTR.SIZE) !== 0 ? offset64(m, 56) : 0,
    lock_owner: (valid & FATTR.LOCKOWNER) !== 0 ? exact64(m, 64) : 0,
    atime: { sec: signed64(m, 72), nsec: u32(m, 96) },
    mtime: { sec: signed64(m, 80), nsec: u32(m, 100) },
    ctime: { sec: signed64(m, 88), nsec: u32(m, 104) },
    mode: u32(m, 108),
    uid: u32(m, 116),
    gid: u32(m, 120),
  };
}

/** FORGET. */
export function decodeForget(m: Message): ForgetIn {
  need(m, 8);
  return { nlookup: count64(m, 40) };
}

/** BATCH_FORGET. @throws ProtocolError EINVAL for more than the message has */
export function decodeBatchForget(m: Message): BatchForgetIn {
  need(m, 8);
  const count = u32(m, 40);
  if (count > (m.length - 48) / 16) throw new ProtocolError('EINVAL', `${count} forgets in ${m.length} bytes`);
  const forgets: ForgetOne[] = [];
  for (let at = 48; at < 48 + 16 * count; at += 16) forgets.push({ nodeid: id64(m, at), nlookup: count64(m, at + 8) });
  return { forgets };
}

/** OPEN and OPENDIR. */
export function decodeOpen(m: Message): OpenIn {
  need(m, 8);
  return { flags: u32(m, 40), open_flags: u32(m, 44) };
}

/** RELEASE and RELEASEDIR. */
export function decodeRelease(m: Message): ReleaseIn {
  need(m, 24);
  return { fh: id64(m, 40), flags: u32(m, 48), release_flags: u32(m, 52), lock_owner: exact64(m, 56) };
}

/** FLUSH. */
export function decodeFlush(m: Message): FlushIn {
  need(m, 24);
  return { fh: id64(m, 40), lock_owner: exact64(m, 56) };
}

/** FSYNC and FSYNCDIR. */
export function decodeFsync(m: Message): FsyncIn {
  need(m, 16);
  return { fh: id64(m, 40), fsync_flags: u32(m, 48) };
}

/** GETLK, SETLK and SETLKW. @throws ProtocolError EINVAL when the range ends before it starts */
export function decodeLk(m: Message): LkIn {
  need(m, 48);
  const start = offset64(m, 56);
  const end = count64(m, 64);
  if (end < start) throw new ProtocolError('EINVAL', 'lock range ends before it starts');
  return {
    fh: id64(m, 40),
    owner: exact64(m, 48),
    start,
    end,
    type: u32(m, 72),
    pid: u32(m, 76),
    lk_flags: u32(m, 80),
  };
}

/** ACCESS. */
export function decodeAccess(m: Message): AccessIn {
  need(m, 8);
  return { mask: u32(m, 40) };
}

/** INIT: 16 bytes from kernels before 7.36, 64 since. */
export function decodeInit(m: Message): InitIn {
  need(m, 8);
  const major = u32(m, 40);
  const minor = u32(m, 44);
  if (m.length < 56) return { major, minor, max_readahead: 0, flags: 0, flags2: 0 };
  return {
    major,
    minor,
    max_readahead: u32(m, 48),
    flags: u32(m, 52),
    flags2: m.length >= 60 ? u32(m, 56) : 0,
  };
}

/** INTERRUPT. */
export function decodeInterrupt(m: Message): InterruptIn {
  need(m, 8);
  return { unique: exact64(m, 40) };
}

/** BMAP. */
export function decodeBmap(m: Message): BmapIn {
  need(m, 16);
  return { block: count64(m, 40), blocksize: u32(m, 48) };
}

/** IOCTL, with the bytes that the command is given. @throws ProtocolError EINVAL for more than the message has */
export function decodeIoctl(m: Message): IoctlIn {
  need(m, 32);
  const size = u32(m, 64);
  if (size > m.length - 72) throw new ProtocolError('EINVAL', `ioctl input of ${size} bytes with ${m.length - 72}`);
  return {
    fh: id64(m, 40),
    flags: u32(m, 48),
    cmd: u32(m, 52),
    arg: exact64(m, 56),
    data: Buffer.from(m.bytes.subarray(72, 72 + size)),
    out_size: u32(m, 68),
  };
}

/** POLL. */
export function decodePoll(m: Message): PollIn {
  need(m, 24);
  return { fh: id64(m, 40), kh: exact64(m, 48), flags: u32(m, 56), events: u32(m, 60) };
}

/** NOTIFY_REPLY: what NOTIFY_RETRIEVE asked for. */
export function decodeNotifyReply(m: Message): NotifyReplyIn {
  need(m, 40);
  const size = u32(m, 56);
  if (size > m.length - 80) throw new ProtocolError('EINVAL', `${size} retrieved bytes with ${m.length - 80}`);
  return { offset: offset64(m, 48), size, message: m, start: 80 };
}

/** FALLOCATE. */
export function decodeFallocate(m: Message): FallocateIn {
  need(m, 32);
  return { fh: id64(m, 40), offset: offset64(m, 48), length: offset64(m, 56), mode: u32(m, 64) };
}

/** LSEEK. */
export function decodeLseek(m: Message): LseekIn {
  need(m, 24);
  return { fh: id64(m, 40), offset: signed64(m, 48), whence: u32(m, 56) };
}

/** COPY_FILE_RANGE and COPY_FILE_RANGE_64: callers ask for lengths near 2^63 to say "all of it". */
export function decodeCopyFileRange(m: Message): CopyFileRangeIn {
  need(m, 56);
  return {
    fh_in: id64(m, 40),
    off_in: offset64(m, 48),
    nodeid_out: id64(m, 56),
    fh_out: id64(m, 64),
    off_out: offset64(m, 72),
    len: count64(m, 80),
    flags: count64(m, 88),
  };
}

/** SETUPMAPPING. */
export function decodeSetupmapping(m: Message): SetupmappingIn {
  need(m, 40);
  return {
    fh: id64(m, 40),
    foffset: offset64(m, 48),
    len: count64(m, 56),
    flags: count64(m, 64),
    moffset: offset64(m, 72),
  };
}

/** REMOVEMAPPING: the ranges follow a lone uint32 and so lie at multiples of four only. */
export function decodeRemovemapping(m: Message): RemovemappingIn {
  need(m, 4);
  const count = u32(m, 40);
  if (count > (m.length - 44) / 16) throw new ProtocolError('EINVAL', `${count} mappings in ${m.length} bytes`);
  const ranges: { moffset: number; len: number }[] = [];
  for (let at = 44; at < 44 + 16 * count; at += 16) ranges.push({ moffset: offset64(m, at), len: count64(m, at + 8) });
  return { ranges };
}

/** STATX. */
export function decodeStatx(m: Message): StatxIn {
  need(m, 24);
  return { getattr_flags: u32(m, 40), fh: id64(m, 48), sx_flags: u32(m, 56), sx_mask: u32(m, 60) };
}
