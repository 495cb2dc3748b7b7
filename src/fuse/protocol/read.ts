// Decoders for the pieces that requests have in common: header, names, extensions. Every length is checked against the message; whatever
// is wrong with a message comes out as a ProtocolError.

import { EXT_GROUPS, MAX_NR_SECCTX } from './flags.js';
import {
  exact64,
  IN_HEADER,
  id64,
  LITTLE_ENDIAN,
  type Message,
  need,
  ProtocolError,
  type U64,
  u32,
} from './message.js';
import type { CreateExtensions, RequestHeader, SecurityContext } from './requests.js';

const EMPTY: readonly never[] = [];
export const NO_EXTENSIONS: CreateExtensions = { secctx: EMPTY, groups: EMPTY };
const SLASH = 0x2f;
const DOT = 0x2e;

/**
 * struct fuse_in_header.
 * @throws ProtocolError EIO when the message is shorter than a header or its length field is not the number of bytes received
 */
export function decodeHeader(m: Message): RequestHeader {
  need(m, 0);
  const len = u32(m, 0);
  if (len !== m.length) throw new ProtocolError('EIO', `header says ${len} bytes, ${m.length} were received`);
  const word = u32(m, 36);
  const extlen = (LITTLE_ENDIAN ? word & 0xffff : word >>> 16) * 8;
  if (extlen > len - IN_HEADER) throw new ProtocolError('EIO', 'extensions longer than the message');
  return {
    len,
    opcode: u32(m, 4),
    unique: exact64(m, 8),
    nodeid: id64(m, 16),
    uid: u32(m, 24),
    gid: u32(m, 28),
    pid: u32(m, 32),
    extlen,
  };
}

/** Opcode and id of a message whose header may lie otherwise; undefined where it is too short to have them. */
export function peekHeader(m: Message): { readonly opcode: number; readonly unique: U64 } | undefined {
  return m.length < 16 ? undefined : { opcode: u32(m, 4), unique: exact64(m, 8) };
}

/** Only the opcode; 0 when the message is too short to have one. */
export function peekOpcode(m: Message): number {
  return m.length < IN_HEADER ? 0 : u32(m, 4);
}

/** Where the body ends: the message without its extensions. */
export function bodyEnd(m: Message): number {
  const word = u32(m, 36);
  return Math.max(IN_HEADER, m.length - (LITTLE_ENDIAN ? word & 0xffff : word >>> 16) * 8);
}

/** Which names a request may carry. */
export const NameRule = {
  /** a component: not empty, no '/', not '.' or '..' */
  COMPONENT: 0,
  /** as COMPONENT, but '.' and '..' are allowed (LOOKUP by an exporter) */
  LOOKUP: 1,
} as const;
export type NameRule = (typeof NameRule)[keyof typeof NameRule];

/**
 * The index of the NUL that ends the string at `start`.
 * @throws ProtocolError EINVAL when there is none before `end`
 */
export function stringEnd(m: Message, start: number, end: number): number {
  const { bytes } = m;
  for (let i = start; i < end; i++) if (bytes[i] === 0) return i;
  throw new ProtocolError('EINVAL', 'string without a terminator');
}

/**
 * The directory entry name at `start` (its NUL is at start + the string's length).
 * @throws ProtocolError EINVAL for an empty name, '/', '.' or '..', no terminator; ENAMETOOLONG beyond nameMax bytes
 */
export function componentName(m: Message, start: number, end: number, nameMax: number, rule: NameRule): string {
  const { bytes } = m;
  let i = start;
  for (; i < end; i++) {
    const byte = bytes[i];
    if (byte === 0) break;
    if (byte === SLASH) throw new ProtocolError('EINVAL', "name with a '/'");
  }
  if (i >= end) throw new ProtocolError('EINVAL', 'name without a terminator');
  const length = i - start;
  if (length === 0) throw new ProtocolError('EINVAL', 'empty name');
  if (length > nameMax) throw new ProtocolError('ENAMETOOLONG', `name of ${length} bytes`);
  if (rule === NameRule.COMPONENT && length <= 2 && bytes[start] === DOT && bytes[i - 1] === DOT) {
    throw new ProtocolError('EINVAL', "'.' or '..' as a name");
  }
  return bytes.toString('latin1', start, i);
}

/** The string at `start` with a limit of `max` bytes, for link targets and attribute names, which may contain anything but NUL. */
export function text(m: Message, start: number, end: number, max: number, tooLong: 'ENAMETOOLONG' | 'ERANGE'): string {
  const nul = stringEnd(m, start, end);
  if (nul - start > max) throw new ProtocolError(tooLong, `string of ${nul - start} bytes`);
  return m.bytes.toString('latin1', start, nul);
}

/**
 * The extensions after the names of a create-type request. Kernels from 7.38 on say in the header where they start; before, a security
 * context header simply follows the last name.
 * @param after the offset after the last name's NUL
 * @throws ProtocolError EINVAL when a length inside does not fit its container
 */
export function createExtensions(m: Message, after: number): CreateExtensions {
  const end = m.length;
  const declared = bodyEnd(m);
  let at = declared < end ? declared : after;
  if (at >= end) return NO_EXTENSIONS;
  if (at < after) throw new ProtocolError('EINVAL', 'extensions overlap the body');
  const secctx: SecurityContext[] = [];
  const groups: number[] = [];
  while (at < end) {
    if (end - at < 8) {
      if (declared === end) break; // padding after the last context of a kernel before 7.38
      throw new ProtocolError('EINVAL', 'truncated extension header');
    }
    const size = m.view.getUint32(at, LITTLE_ENDIAN);
    const type = m.view.getUint32(at + 4, LITTLE_ENDIAN);
    if (size < 8 || size > end - at) throw new ProtocolError('EINVAL', `extension of ${size} bytes in ${end - at}`);
    if (type <= MAX_NR_SECCTX) securityContexts(m, at + 8, at + size, type, secctx);
    else if (type === EXT_GROUPS) supplementaryGroups(m, at + 8, at + size, groups);
    at += size;
  }
  return { secctx, groups };
}

function securityContexts(m: Message, start: number, end: number, count: number, into: SecurityContext[]): void {
  let at = start;
  for (let i = 0; i < count; i++) {
    if (end - at < 8) throw new ProtocolError('EINVAL', 'truncated security context');
    const size = m.view.getUint32(at, LITTLE_ENDIAN);
    const nul = stringEnd(m, at + 8, end);
    if (size > end - (nul + 1)) throw new ProtocolError('EINVAL', 'security context longer than its extension');
    into.push({
      name: m.bytes.toString('latin1', at + 8, nul),
      context: Buffer.from(m.bytes.subarray(nul + 1, nul + 1 + size)),
    });
    at = nul + 1 + size;
  }
}

function supplementaryGroups(m: Message, start: number, end: number, into: number[]): void {
  if (end - start < 4) throw new ProtocolError('EINVAL', 'truncated groups extension');
  const count = m.view.getUint32(start, LITTLE_ENDIAN);
  if (count > (end - start - 4) / 4) throw new ProtocolError('EINVAL', `${count} groups in ${end - start} bytes`);
  for (let i = 0; i < count; i++) into.push(m.view.getUint32(start + 4 + 4 * i, LITTLE_ENDIAN));
}
