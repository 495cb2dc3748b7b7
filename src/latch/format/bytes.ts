/**
 * Little-endian numbers among bytes, for what is read and written at every step through a tree. They refuse what Buffer's own methods refuse, which cost ten
 * times as much, because those look at the kinds of their arguments at each call.
 */

const TWO_32 = 2 ** 32;

function outside(at: number): never {
  throw new RangeError(`there are no such bytes at ${at}`);
}

function tooLarge(value: number): never {
  throw new RangeError(`${value} does not fit`);
}

/** The 16 bits at `at`, unsigned. @throws RangeError beyond the end */
export function get16(b: Uint8Array, at: number): number {
  const low = b[at];
  const high = b[at + 1];
  if (low === undefined || high === undefined) return outside(at);
  return low | (high << 8);
}

/** The 32 bits at `at`, unsigned. @throws RangeError beyond the end */
export function get32(b: Uint8Array, at: number): number {
  const b0 = b[at];
  const b1 = b[at + 1];
  const b2 = b[at + 2];
  const b3 = b[at + 3];
  if (b0 === undefined || b1 === undefined || b2 === undefined || b3 === undefined) return outside(at);
  return (b0 | (b1 << 8) | (b2 << 16) | (b3 << 24)) >>> 0;
}

/** The 48 bits at `at`, unsigned. @throws RangeError beyond the end */
export function get48(b: Uint8Array, at: number): number {
  return get32(b, at) + get16(b, at + 4) * TWO_32;
}

/** @throws RangeError beyond the end, or for what has no 16 bits */
export function put16(b: Uint8Array, value: number, at: number): void {
  if ((value & 0xffff) !== value) tooLarge(value);
  if (b[at] === undefined || b[at + 1] === undefined) outside(at);
  b[at] = value & 0xff;
  b[at + 1] = value >>> 8;
}

/** @throws RangeError beyond the end, or for what has no 32 bits */
export function put32(b: Uint8Array, value: number, at: number): void {
  const bits = value | 0;
  if (bits >>> 0 !== value) tooLarge(value);
  if (b[at] === undefined || b[at + 3] === undefined) outside(at);
  b[at] = bits & 0xff;
  b[at + 1] = (bits >>> 8) & 0xff;
  b[at + 2] = (bits >>> 16) & 0xff;
  b[at + 3] = bits >>> 24;
}

/** @throws RangeError beyond the end, or for what has no 48 bits */
export function put48(b: Uint8Array, value: number, at: number): void {
  const low = value >>> 0;
  put16(b, (value - low) / TWO_32, at + 4);
  put32(b, low, at);
}
