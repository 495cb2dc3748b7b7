// One request as read from the device, and the typed error for a malformed one. The protocol is in host byte order, and every struct
// of it is aligned to eight bytes, so that fixed fields are read through a Uint32Array over the buffer.

import { constants, endianness } from 'node:os';

/** Bytes of struct fuse_in_header; a request's body starts here. */
export const IN_HEADER = 40;
/** Bytes of struct fuse_out_header. */
export const OUT_HEADER = 16;

export const LITTLE_ENDIAN: boolean = endianness() === 'LE';
const LOW = LITTLE_ENDIAN ? 0 : 1;
const HIGH = 1 - LOW;
const TWO_32 = 4294967296;

/** An exact unsigned 64-bit value: a number below 2^53, a bigint from there on (never a bigint below), so that `===` and Map keys work. */
export type U64 = number | bigint;

/** Why a message cannot be understood; `code` is what the request is answered with. */
export type ProtocolErrno = 'EINVAL' | 'EIO' | 'ENAMETOOLONG' | 'ERANGE';

/** A malformed request. `errno` is positive, as in errno.h. */
export class ProtocolError extends Error {
  readonly code: ProtocolErrno;
  readonly errno: number;
  constructor(code: ProtocolErrno, message: string) {
    super(message);
    this.name = 'ProtocolError';
    this.code = code;
    this.errno = constants.errno[code];
  }
}

/**
 * A request buffer with its views. `length` is what the device gave, set by the transport for each request; the decoders never look
 * at bytes from there on.
 */
export class Message {
  readonly bytes: Buffer;
  readonly u32: Uint32Array;
  readonly view: DataView;
  length: number;
  /** Where `bytes` lie in memory, for a transport that hands addresses to system calls; 0 when unknown. */
  address = 0;
  /** Set by a handler that keeps the message beyond its call (and gives it back to the pool itself afterwards). */
  held = false;
  /** What a handler keeps with the buffer for as long as that is used again; its own business. */
  kept: object | undefined;

  /** @param bytes a buffer whose byteOffset is a multiple of 8 (Buffer.allocUnsafeSlow's is) @param length bytes that are filled */
  constructor(bytes: Buffer, length: number = bytes.length) {
    this.bytes = bytes;
    this.u32 = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.length = length;
  }

  /** A message over a copy of any bytes, aligned as needed. */
  static from(bytes: Uint8Array): Message {
    const buffer = Buffer.allocUnsafeSlow(Math.max(8, (bytes.length + 7) & ~7));
    buffer.fill(0);
    buffer.set(bytes);
    return new Message(buffer, bytes.length);
  }
}

/** Throws EIO when the message is shorter than its header and `size` bytes of body. */
export function need(m: Message, size: number): void {
  if (m.length < IN_HEADER + size) short(m, IN_HEADER + size);
}

function short(m: Message, wanted: number): never {
  throw new ProtocolError('EIO', `message of ${m.length} bytes where ${wanted} are needed`);
}

/** The uint32 at a byte offset that is a multiple of 4 and lies inside the message. */
export function u32(m: Message, at: number): number {
  return m.u32[at >>> 2] ?? short(m, at + 4);
}

/** The uint64 at a byte offset that is a multiple of 4, for identifiers that this side chose (node ids, handles): EIO from 2^53 on. */
export function id64(m: Message, at: number): number {
  const high = u32(m, at + 4 * HIGH);
  if (high >= 0x200000) throw new ProtocolError('EIO', 'identifier that was never given out');
  return u32(m, at + 4 * LOW) + high * TWO_32;
}

/** The uint64 at a byte offset, exact. */
export function exact64(m: Message, at: number): U64 {
  const high = u32(m, at + 4 * HIGH);
  const low = u32(m, at + 4 * LOW);
  if (high < 0x200000) return low + high * TWO_32;
  return (BigInt(high) << 32n) | BigInt(low);
}

/** The uint64 at a byte offset as a count: values from 2^53 on become 2^53-1. */
export function count64(m: Message, at: number): number {
  const high = u32(m, at + 4 * HIGH);
  if (high >= 0x200000) return Number.MAX_SAFE_INTEGER;
  return u32(m, at + 4 * LOW) + high * TWO_32;
}

/** The int64 at a byte offset, beyond ±(2^53-1) the nearest of these. */
export function signed64(m: Message, at: number): number {
  const high = u32(m, at + 4 * HIGH) | 0;
  if (high >= 0x200000) return Number.MAX_SAFE_INTEGER;
  if (high < -0x200000) return -Number.MAX_SAFE_INTEGER;
  const value = u32(m, at + 4 * LOW) + high * TWO_32;
  return Math.max(value, -Number.MAX_SAFE_INTEGER);
}

/** The loff_t at a byte offset: 2^53-1 for any larger (which no file reaches), EINVAL when negative. */
export function offset64(m: Message, at: number): number {
  const high = u32(m, at + 4 * HIGH);
  if (high >= 0x200000) {
    if (high >= 0x80000000) throw new ProtocolError('EINVAL', 'negative offset');
    return Number.MAX_SAFE_INTEGER;
  }
  return u32(m, at + 4 * LOW) + high * TWO_32;
}
