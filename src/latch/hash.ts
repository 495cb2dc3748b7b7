/**
 * HalfSipHash-2-4 with 64 bits of result (Aumasson, Bernstein): a hash that nobody who does not know the key can make collide, so that no choice of
 * names makes a directory slow. It works on 32-bit words, which JavaScript has.
 */

/** What a hash depends on beside the bytes. */
export interface HashKey {
  readonly k0: number;
  readonly k1: number;
}

/** The result: two words of 32 bits, unsigned. */
export interface Hash64 {
  readonly low: number;
  readonly high: number;
}

let v0 = 0;
let v1 = 0;
let v2 = 0;
let v3 = 0;

function round(): void {
  v0 = (v0 + v1) | 0;
  v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
  v0 = (v0 << 16) | (v0 >>> 16);
  v2 = (v2 + v3) | 0;
  v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
  v0 = (v0 + v3) | 0;
  v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
  v2 = (v2 + v1) | 0;
  v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
  v2 = (v2 << 16) | (v2 >>> 16);
}

function word(m: number): void {
  v3 ^= m;
  round();
  round();
  v0 ^= m;
}

function finish(): number {
  round();
  round();
  round();
  round();
  return (v1 ^ v3) >>> 0;
}

/** @param bytes one character a byte (latin1) */
export function halfSipHash(key: HashKey, bytes: string): Hash64 {
  const { length } = bytes;
  v0 = key.k0;
  v1 = key.k1 ^ 0xee;
  v2 = 0x6c796765 ^ key.k0;
  v3 = 0x74656462 ^ key.k1;
  const whole = length & ~3;
  for (let i = 0; i < whole; i += 4) {
    word(
      bytes.charCodeAt(i) |
        (bytes.charCodeAt(i + 1) << 8) |
        (bytes.charCodeAt(i + 2) << 16) |
        (bytes.charCodeAt(i + 3) << 24),
    );
  }
  let last = length << 24;
  for (let i = whole; i < length; i++) last |= bytes.charCodeAt(i) << (8 * (i - whole));
  word(last);
  v2 ^= 0xee;
  const low = finish();
  v1 ^= 0xdd;
  return { low, high: finish() };
}
