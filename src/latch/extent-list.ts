/** Extents of a file as lists: parts of them, and what continues what. Pure data. */
import type { Extent } from './format/inode.js';

/** Blocks of a file have numbers below this. */
export const MAX_LOGICAL = 2 ** 32;
const MAX_LENGTH = 0x7fffffff;

/** The block behind an extent. */
export function endOf(extent: Extent): number {
  return extent.logical + extent.length;
}

/** The blocks of an extent from `from` to `to` exclusive, which it has. */
export function part(extent: Extent, from: number, to: number): Extent {
  return { ...extent, logical: from, length: to - from, physical: extent.physical + (from - extent.logical) };
}

/** Whether b goes on where a ends, in the file and on the device. */
export function continues(a: Extent, b: Extent): boolean {
  return (
    endOf(a) === b.logical &&
    a.physical + a.length === b.physical &&
    a.unwritten === b.unwritten &&
    a.length + b.length <= MAX_LENGTH
  );
}

/** Put an extent behind those of a list; into the last one, where it continues that. */
export function append(list: Extent[], extent: Extent): void {
  const last = list[list.length - 1];
  if (last !== undefined && continues(last, extent)) last.length += extent.length;
  else list.push({ ...extent });
}

/** A list in order, with neighbours that continue each other joined, and without what is no extent. */
export function merged(list: readonly (Extent | undefined)[]): Extent[] {
  const out: Extent[] = [];
  for (const extent of list) if (extent !== undefined && extent.length > 0) append(out, extent);
  return out;
}

/** Whether two extents that begin at the same block are one. */
export function same(a: Extent, b: Extent): boolean {
  return a.length === b.length && a.physical === b.physical && a.unwritten === b.unwritten;
}
