// Builds request messages as the kernel lays them out, for the decoders' tests.

import { Message } from '../../src/fuse/protocol/message.js';

export type Piece = Buffer;

export function u16(...values: number[]): Piece {
  const bytes = Buffer.alloc(2 * values.length);
  for (const [i, value] of values.entries()) bytes.writeUInt16LE(value, 2 * i);
  return bytes;
}

export function u32(...values: number[]): Piece {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [i, value] of values.entries()) bytes.writeUInt32LE(value >>> 0, 4 * i);
  return bytes;
}

export function u64(...values: (number | bigint)[]): Piece {
  const bytes = Buffer.alloc(8 * values.length);
  for (const [i, value] of values.entries()) bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)), 8 * i);
  return bytes;
}

/** Strings with a NUL each. */
export function strings(...values: string[]): Piece {
  return Buffer.from(values.map((value) => `${value}\0`).join(''), 'latin1');
}

export interface HeaderFields {
  unique?: number | bigint;
  nodeid?: number | bigint;
  len?: number;
  extensions?: Buffer;
}

/** A message with a true header, unless `fields` say otherwise. */
export function request(opcode: number, body: Piece[], fields: HeaderFields = {}): Message {
  const ext = fields.extensions ?? Buffer.alloc(0);
  const tail = Buffer.concat([...body, ext]);
  const header = Buffer.concat([
    u32(fields.len ?? 40 + tail.length, opcode),
    u64(fields.unique ?? 2, fields.nodeid ?? 1),
    u32(1000, 100, 4711),
    u16(ext.length / 8, 0),
  ]);
  return Message.from(Buffer.concat([header, tail]));
}
