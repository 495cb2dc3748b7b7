// Encoders of the messages that nobody asked for (enum fuse_notify_code): the transport's notify() sends what they write.

import { OUT_HEADER, type U64 } from './message.js';
import type { Out } from './out.js';

const B = OUT_HEADER;

/** POLL: wake whoever polls the file whose POLL request named `kh`. */
export function notifyPoll(out: Out, kh: U64): number {
  out.exact64(B, kh);
  return 8;
}

/** INVAL_INODE: forget cached attributes, and data from `off` for `len` bytes (len 0 or negative: to the end; off negative: no data). */
export function notifyInvalInode(out: Out, ino: number, off: number, len: number): number {
  out.put64(B, ino);
  out.put64(B + 8, off);
  out.put64(B + 16, len);
  return 24;
}

/** INVAL_ENTRY: forget a name in a directory. @param flags EXPIRE_ONLY: only let it be looked up again */
export function notifyInvalEntry(out: Out, parent: number, name: string, flags = 0): number {
  out.put64(B, parent);
  out.put32(B + 8, name.length);
  out.put32(B + 12, flags);
  return 16 + nameAt(out, B + 16, name);
}

/** DELETE: the child of that name is gone (the kernel then treats it as unlinked, telling watchers). */
export function notifyDelete(out: Out, parent: number, child: number, name: string): number {
  out.put64(B, parent);
  out.put64(B + 8, child);
  out.put32(B + 16, name.length);
  out.put32(B + 20, 0);
  return 24 + nameAt(out, B + 24, name);
}

/** STORE: `size` bytes that follow go into the page cache at `offset`. */
export function notifyStore(out: Out, nodeid: number, offset: number, size: number): number {
  out.put64(B, nodeid);
  out.put64(B + 8, offset);
  out.put32(B + 16, size);
  out.put32(B + 20, 0);
  return 24;
}

/** RETRIEVE: asks for cached data; a NOTIFY_REPLY with this unique brings them. */
export function notifyRetrieve(out: Out, notify_unique: U64, nodeid: number, offset: number, size: number): number {
  out.exact64(B, notify_unique);
  out.put64(B + 8, nodeid);
  out.put64(B + 16, offset);
  out.put32(B + 24, size);
  out.put32(B + 28, 0);
  return 32;
}

/** RESEND: the kernel sends again what it has sent and got no answer to. INC_EPOCH, with the same empty body, expires all entries. */
export function notifyEmpty(): number {
  return 0;
}

/** PRUNE: let go of these inodes when nothing but the cache holds them. @throws RangeError when they do not fit */
export function notifyPrune(out: Out, nodeids: readonly number[]): number {
  const size = 16 + 8 * nodeids.length;
  if (size > out.room) throw new RangeError(`${nodeids.length} node ids do not fit the reply buffer`);
  out.put32(B, nodeids.length);
  out.zero(B + 4, 12);
  for (let i = 0, at = B + 16; i < nodeids.length; i++, at += 8) out.put64(at, nodeids[i] ?? 0);
  return size;
}

function nameAt(out: Out, at: number, name: string): number {
  out.string(at, name);
  out.bytes[at + name.length] = 0;
  return name.length + 1;
}
