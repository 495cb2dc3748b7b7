/** Names in the trees of directories and of attributes: which there can be, and under which keys they lie. Pure data. */
import { type HashKey, halfSipHash } from './hash.js';

/** Keys that the names of one hash have for themselves, so that as many of them can be told apart. */
export const KEYS_OF_HASH = 256;

/** The lowest key of a name's hash: 44 bits of that, and 8 of a number. */
export function nameKey(hash: HashKey, name: string): number {
  const { low, high } = halfSipHash(hash, name);
  return ((high & 0xfff) * 0x100000000 + low) * KEYS_OF_HASH;
}

/** The lowest of the keys that names of the same hash have. */
export function firstKey(key: number): number {
  return key - (key % KEYS_OF_HASH);
}

/** Whether a file can have that name. */
export function isFileName(name: string): boolean {
  return name !== '' && name !== '.' && name !== '..' && name.length <= 255 && !/[/\0]/.test(name);
}
