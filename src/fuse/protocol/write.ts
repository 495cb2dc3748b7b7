// Encoders of the replies' bodies. Each writes its struct into an Out after the header and returns its size in bytes, which the transport's
// reply() takes. Fields are spelt as in include/uapi/linux/fuse.h.

import { OUT_HEADER } from './message.js';
import type { Out } from './out.js';
import type { Time } from './requests.js';

/** struct fuse_attr without its flags. */
export interface Attr {
  readonly ino: number;
  readonly size: number;
  /** in units of 512 bytes */
  readonly blocks: number;
  readonly atime: Time;
  readonly mtime: Time;
  readonly ctime: Time;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  /** as the kernel's new_encode_dev */
  readonly rdev: number;
  readonly blksize: number;
}

/** struct fuse_entry_out; nodeid 0 is a negative entry that may be cached for entry_valid. */
export interface Entry {
  readonly nodeid: number;
  readonly generation: number;
  /** seconds, with a fraction */
  readonly entry_valid: number;
  readonly attr_valid: number;
  readonly attr: Attr;
}

export interface Kstatfs {
  readonly blocks: number;
  readonly bfree: number;
  readonly bavail: number;
  readonly files: number;
  readonly ffree: number;
  readonly bsize: number;
  readonly namelen: number;
  readonly frsize: number;
}

/** struct fuse_file_lock */
export interface FileLock {
  readonly start: number;
  /** 2^53-1: to the end of the file */
  readonly end: number;
  readonly type: number;
  readonly pid: number;
}

export interface InitOut {
  readonly major: number;
  readonly minor: number;
  readonly max_readahead: number;
  readonly flags: number;
  readonly max_background: number;
  readonly congestion_threshold: number;
  readonly max_write: number;
  readonly time_gran: number;
  readonly max_pages: number;
  readonly map_alignment: number;
  readonly flags2: number;
  readonly max_stack_depth: number;
  /** seconds, 0 for none */
  readonly request_timeout: number;
}

export interface Statx extends Attr {
  /** STATX_* bits that are filled */
  readonly mask: number;
  readonly attributes: number;
  readonly attributes_mask: number;
  readonly btime: Time;
  readonly rdev_major: number;
  readonly rdev_minor: number;
  readonly dev_major: number;
  readonly dev_minor: number;
}

export const ENTRY_OUT_SIZE = 128;
export const ATTR_OUT_SIZE = 104;
const B = OUT_HEADER;
/** Beyond this many seconds a timeout means "for ever"; it stays well inside the kernel's arithmetic. */
const FOREVER = 2 ** 40;

function seconds(out: Out, at: number, atNsec: number, value: number): void {
  const sec = value >= FOREVER ? FOREVER : Math.floor(value);
  out.put64(at, sec);
  out.put32(atNsec, value >= FOREVER ? 0 : Math.floor((value - sec) * 1e9));
}

function fuseAttr(out: Out, at: number, attr: Attr, flags: number): void {
  const { atime, mtime, ctime } = attr;
  out.put64(at, attr.ino);
  out.put64(at + 8, attr.size);
  out.put64(at + 16, attr.blocks);
  out.put64(at + 24, atime.sec);
  out.put64(at + 32, mtime.sec);
  out.put64(at + 40, ctime.sec);
  out.put32(at + 48, atime.nsec);
  out.put32(at + 52, mtime.nsec);
  out.put32(at + 56, ctime.nsec);
  out.put32(at + 60, attr.mode);
  out.put32(at + 64, attr.nlink);
  out.put32(at + 68, attr.uid);
  out.put32(at + 72, attr.gid);
  out.put32(at + 76, attr.rdev);
  out.put32(at + 80, attr.blksize);
  out.put32(at + 84, flags);
}

/** struct fuse_entry_out at a byte offset, for directory listings. @param flags ATTR bits */
export function entryAt(out: Out, at: number, entry: Entry, flags = 0): void {
  out.put64(at, entry.nodeid);
  out.put64(at + 8, entry.generation);
  seconds(out, at + 16, at + 32, entry.entry_valid);
  seconds(out, at + 24, at + 36, entry.attr_valid);
  fuseAttr(out, at + 40, entry.attr, flags);
}

/** LOOKUP, MKNOD, MKDIR, SYMLINK, LINK. */
export function encodeEntry(out: Out, entry: Entry, flags = 0): number {
  entryAt(out, B, entry, flags);
  return ENTRY_OUT_SIZE;
}

/** LOOKUP of a name that does not exist, remembered for `entry_valid` seconds (an ENOENT error would not be remembered). */
export function encodeNegativeEntry(out: Out, entry_valid: number): number {
  out.zero(B, ENTRY_OUT_SIZE);
  seconds(out, B + 16, B + 32, entry_valid);
  return ENTRY_OUT_SIZE;
}

/** GETATTR, SETATTR. @param attr_valid seconds @param flags ATTR bits */
export function encodeAttr(out: Out, attr_valid: number, attr: Attr, flags = 0): number {
  seconds(out, B, B + 8, attr_valid);
  out.put32(B + 12, 0);
  fuseAttr(out, B + 16, attr, flags);
  return ATTR_OUT_SIZE;
}

function openAt(out: Out, at: number, fh: number, open_flags: number, backing_id: number): void {
  out.put64(at, fh);
  out.put32(at + 8, open_flags);
  out.put32(at + 12, backing_id);
}

/** OPEN, OPENDIR. @param open_flags FOPEN bits */
export function encodeOpen(out: Out, fh: number, open_flags: number, backing_id = 0): number {
  openAt(out, B, fh, open_flags, backing_id);
  return 16;
}

/** CREATE, TMPFILE: entry and open file. */
export function encodeCreate(out: Out, entry: Entry, fh: number, open_flags: number, flags = 0): number {
  entryAt(out, B, entry, flags);
  openAt(out, B + ENTRY_OUT_SIZE, fh, open_flags, 0);
  return ENTRY_OUT_SIZE + 16;
}

function two32(out: Out, first: number): number {
  out.put32(B, first);
  out.put32(B + 4, 0);
  return 8;
}

/** WRITE and COPY_FILE_RANGE: bytes done. */
export function encodeWrite(out: Out, size: number): number {
  return two32(out, size);
}

/** GETXATTR and LISTXATTR asked with size 0: bytes that the answer would have. */
export function encodeGetxattr(out: Out, size: number): number {
  return two32(out, size);
}

/** POLL. @param revents poll(2) bits */
export function encodePoll(out: Out, revents: number): number {
  return two32(out, revents);
}

/** BMAP. */
export function encodeBmap(out: Out, block: number): number {
  out.put64(B, block);
  return 8;
}

/** LSEEK. */
export function encodeLseek(out: Out, offset: number): number {
  out.put64(B, offset);
  return 8;
}

/** COPY_FILE_RANGE_64: bytes done. */
export function encodeCopyFileRange(out: Out, bytes_copied: number): number {
  out.put64(B, bytes_copied);
  return 8;
}

/** The answer to STATFS. @returns its bytes */
export function encodeStatfs(out: Out, st: Kstatfs): number {
  out.put64(B, st.blocks);
  out.put64(B + 8, st.bfree);
  out.put64(B + 16, st.bavail);
  out.put64(B + 24, st.files);
  out.put64(B + 32, st.ffree);
  out.put32(B + 40, st.bsize);
  out.put32(B + 44, st.namelen);
  out.put32(B + 48, st.frsize);
  out.zero(B + 52, 28);
  return 80;
}

/** GETLK. */
export function encodeLk(out: Out, lk: FileLock): number {
  out.put64(B, lk.start);
  out.putEnd(B + 8, lk.end);
  out.put32(B + 16, lk.type);
  out.put32(B + 20, lk.pid);
  return 24;
}

/** IOCTL; the output data follow it. @param flags IOCTL.RETRY with the counts of struct fuse_ioctl_iovec that follow instead */
export function encodeIoctl(out: Out, result: number, flags = 0, in_iovs = 0, out_iovs = 0): number {
  out.put32(B, result);
  out.put32(B + 4, flags);
  out.put32(B + 8, in_iovs);
  out.put32(B + 12, out_iovs);
  return 16;
}

/** READLINK, LISTXATTR, small GETXATTR: bytes without a struct. @throws RangeError when they do not fit */
export function encodeBytes(out: Out, bytes: Uint8Array): number {
  if (bytes.length > out.room) throw new RangeError(`${bytes.length} bytes do not fit the reply buffer`);
  out.bytes.set(bytes, B);
  return bytes.length;
}

/** READLINK: a latin1 string without NUL. */
export function encodeString(out: Out, value: string): number {
  if (value.length > out.room) throw new RangeError(`${value.length} bytes do not fit the reply buffer`);
  return out.string(B, value);
}

/** INIT, all 64 bytes of it (every kernel from 7.23 on takes them). */
export function encodeInit(out: Out, init: InitOut): number {
  out.put32(B, init.major);
  out.put32(B + 4, init.minor);
  out.put32(B + 8, init.max_readahead);
  out.put32(B + 12, init.flags);
  out.put16x2(B + 16, init.max_background, init.congestion_threshold);
  out.put32(B + 20, init.max_write);
  out.put32(B + 24, init.time_gran);
  out.put16x2(B + 28, init.max_pages, init.map_alignment);
  out.put32(B + 32, init.flags2);
  out.put32(B + 36, init.max_stack_depth);
  out.put16x2(B + 40, init.request_timeout, 0);
  out.zero(B + 44, 20);
  return 64;
}

function sxTime(out: Out, at: number, time: Time): void {
  out.put64(at, time.sec);
  out.put32(at + 8, time.nsec);
  out.put32(at + 12, 0);
}

/** STATX. @param attr_valid seconds @param flags ATTR bits */
export function encodeStatx(out: Out, attr_valid: number, stat: Statx, flags = 0): number {
  seconds(out, B, B + 8, attr_valid);
  out.put32(B + 12, flags);
  out.zero(B + 16, 16);
  const at = B + 32;
  out.put32(at, stat.mask);
  out.put32(at + 4, stat.blksize);
  out.put64(at + 8, stat.attributes);
  out.put32(at + 16, stat.nlink);
  out.put32(at + 20, stat.uid);
  out.put32(at + 24, stat.gid);
  out.put16x2(at + 28, stat.mode, 0);
  out.put64(at + 32, stat.ino);
  out.put64(at + 40, stat.size);
  out.put64(at + 48, stat.blocks);
  out.put64(at + 56, stat.attributes_mask);
  sxTime(out, at + 64, stat.atime);
  sxTime(out, at + 80, stat.btime);
  sxTime(out, at + 96, stat.ctime);
  sxTime(out, at + 112, stat.mtime);
  out.put32(at + 128, stat.rdev_major);
  out.put32(at + 132, stat.rdev_minor);
  out.put32(at + 136, stat.dev_major);
  out.put32(at + 140, stat.dev_minor);
  out.zero(at + 144, 112);
  return 288;
}
