/** Bitmaps of 4096 bytes, as the groups have them. Pure data. */

/** Bits are counted as ext4 counts them: from the lowest of the first byte on. */
export function isSet(bits: Uint8Array, n: number): boolean {
  return ((bits[n >>> 3] ?? 0) & (1 << (n & 7))) !== 0;
}

/** Bit `n` becomes 1. */
export function setBit(bits: Uint8Array, n: number): void {
  bits[n >>> 3] = (bits[n >>> 3] ?? 0) | (1 << (n & 7));
}

/** Bit `n` becomes 0. */
export function clearBit(bits: Uint8Array, n: number): void {
  bits[n >>> 3] = (bits[n >>> 3] ?? 0) & ~(1 << (n & 7));
}

/** Set or clear a run of bits. */
export function fillBits(bits: Uint8Array, from: number, count: number, on: boolean): void {
  for (let n = from; n < from + count; ) {
    if ((n & 7) === 0 && from + count - n >= 8) {
      bits[n >>> 3] = on ? 0xff : 0;
      n += 8;
    } else {
      if (on) setBit(bits, n);
      else clearBit(bits, n);
      n++;
    }
  }
}

/**
 * The first bit from `from` to `end` exclusive that is clear in `bits` and in `busy`.
 * @returns undefined where there is none
 */
export function firstClear(
  bits: Uint8Array,
  busy: Uint8Array | undefined,
  from: number,
  end: number,
): number | undefined {
  for (let n = from; n < end; ) {
    const byte = (bits[n >>> 3] ?? 0) | (busy?.[n >>> 3] ?? 0);
    if ((n & 7) === 0 && byte === 0xff) n += 8;
    else if ((byte & (1 << (n & 7))) !== 0) n++;
    else return n;
  }
  return undefined;
}

/** How many bits from `from` on are clear in both, up to `max`. */
export function clearRun(
  bits: Uint8Array,
  busy: Uint8Array | undefined,
  from: number,
  end: number,
  max: number,
): number {
  const limit = Math.min(end, from + max);
  let n = from;
  while (n < limit) {
    const byte = (bits[n >>> 3] ?? 0) | (busy?.[n >>> 3] ?? 0);
    if ((n & 7) === 0 && byte === 0 && limit - n >= 8) n += 8;
    else if ((byte & (1 << (n & 7))) !== 0) break;
    else n++;
  }
  return n - from;
}

/** The first set bit from `from` on, or undefined. */
export function firstSet(bits: Uint8Array, from: number, end: number): number | undefined {
  for (let n = from; n < end; ) {
    const byte = bits[n >>> 3] ?? 0;
    if ((n & 7) === 0 && byte === 0) n += 8;
    else if ((byte & (1 << (n & 7))) === 0) n++;
    else return n;
  }
  return undefined;
}

/** How many of the bits before `end` are set. */
export function countSet(bits: Uint8Array, end: number): number {
  let count = 0;
  for (let n = 0; n < end; ) {
    const byte = bits[n >>> 3] ?? 0;
    if ((n & 7) === 0 && end - n >= 8 && (byte === 0 || byte === 0xff)) {
      count += byte & 8;
      n += 8;
    } else if (isSet(bits, n++)) count++;
  }
  return count;
}
