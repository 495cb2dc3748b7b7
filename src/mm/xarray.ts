/**
 * A radix tree of 64-slot nodes over page numbers, with marks (include/linux/xarray.h): what a mapping keeps its folios in.
 * Finding, storing and marking cost one step a level, that is log64 of the highest index; a node without entries is
 * dropped at once, so memory follows what is stored and not what is addressed.
 */

const SHIFT = 6;
const SLOTS = 1 << SHIFT;
const MASK = SLOTS - 1;

/** What can be said of an entry besides that it is there; a mark is found without visiting entries that lack it. */
export type XaMark = 'dirty' | 'writeback' | 'towrite';

/** Where the two halves of each 64-bit map begin in Node.bits. The first map says which slots are in use. */
const PRESENT = 0;
const MAPS_END = 8;

/** The map of a mark. */
function mapOf(mark: XaMark): number {
  return mark === 'dirty' ? 2 : mark === 'writeback' ? 4 : 6;
}

/** What an XArray can hold: entries know their own index. */
export interface XaEntry {
  readonly index: number;
}

class Node<T> {
  /** 0 for the nodes that hold entries. */
  readonly level: number;
  readonly slots: (Node<T> | T | undefined)[] = new Array(SLOTS).fill(undefined);
  readonly bits: number[] = [0, 0, 0, 0, 0, 0, 0, 0];
  parent: Node<T> | undefined;
  /** Its slot in the parent. */
  offset: number;

  constructor(level: number, parent: Node<T> | undefined, offset: number) {
    this.level = level;
    this.parent = parent;
    this.offset = offset;
  }

  has(map: number, slot: number): boolean {
    return (((this.bits[map + (slot >> 5)] ?? 0) >>> (slot & 31)) & 1) === 1;
  }

  any(map: number): boolean {
    return this.bits[map] !== 0 || this.bits[map + 1] !== 0;
  }

  /** The first slot from `slot` on that has the bit; SLOTS where there is none. */
  next(map: number, slot: number): number {
    for (let half = slot >> 5; half < 2; half++) {
      let bits = this.bits[map + half] ?? 0;
      if (half === slot >> 5) bits &= -1 << (slot & 31);
      if (bits !== 0) return (half << 5) + 31 - Math.clz32(bits & -bits);
    }
    return SLOTS;
  }
}

/** The slot that leads to `index` in a node of that level. Indices go beyond 32 bits. */
function slotOf(index: number, level: number): number {
  if (level === 0) return index & MASK;
  if (index <= 0x7fffffff) return level > 5 ? 0 : (index >>> (SHIFT * level)) & MASK;
  return Math.floor(index / SLOTS ** level) & MASK;
}

/** A tree that can be looked at only. */
export type ReadonlyXArray<T extends XaEntry> = Pick<
  XArray<T>,
  'count' | 'load' | 'isMarked' | 'getMark' | 'marked' | 'find' | 'collect'
>;

export class XArray<T extends XaEntry> {
  #root: Node<T> | undefined;
  /** The highest index that the tree can hold at its present height. */
  #max = -1;
  #count = 0;

  /** Entries stored. */
  get count(): number {
    return this.#count;
  }

  /** The entry at `index` (xa_load). */
  load(index: number): T | undefined {
    if (index > this.#max) return undefined;
    let node = this.#root;
    while (node !== undefined) {
      const child = node.slots[slotOf(index, node.level)];
      if (node.level === 0) return child as T | undefined;
      node = child as Node<T> | undefined;
    }
    return undefined;
  }

  /**
   * Put `entry` at `entry.index` (xa_store). Where there was one already, the new one inherits its marks.
   * @returns what was there before
   */
  store(entry: T): T | undefined {
    const { index } = entry;
    let node = this.#grow(index);
    while (node.level > 0) {
      const slot = slotOf(index, node.level);
      let child = node.slots[slot] as Node<T> | undefined;
      if (child === undefined) {
        child = new Node<T>(node.level - 1, node, slot);
        node.slots[slot] = child;
      }
      node = child;
    }
    const slot = index & MASK;
    const before = node.slots[slot] as T | undefined;
    node.slots[slot] = entry;
    if (before === undefined) {
      this.#count++;
      set(node, PRESENT, slot);
    }
    return before;
  }

  /** Whether the entry at `index` has a mark, whichever. */
  isMarked(index: number): boolean {
    const leaf = this.#leaf(index);
    const slot = index & MASK;
    return leaf !== undefined && (leaf.has(2, slot) || leaf.has(4, slot) || leaf.has(6, slot));
  }

  /** Take the entry at `index` out, with its marks (xa_erase). @returns what was there */
  erase(index: number): T | undefined {
    const leaf = this.#leaf(index);
    const slot = index & MASK;
    const entry = leaf?.slots[slot] as T | undefined;
    if (leaf === undefined || entry === undefined) return undefined;
    leaf.slots[slot] = undefined;
    this.#count--;
    for (let map = PRESENT; map < MAPS_END; map += 2) clear(leaf, map, slot);
    this.#prune(leaf);
    return entry;
  }

  /** Mark the entry at `index`; nothing happens where there is none (xa_set_mark). */
  setMark(index: number, mark: XaMark): void {
    const leaf = this.#leaf(index);
    if (leaf?.has(PRESENT, index & MASK) === true) set(leaf, mapOf(mark), index & MASK);
  }

  /** Take a mark off (xa_clear_mark). */
  clearMark(index: number, mark: XaMark): void {
    const leaf = this.#leaf(index);
    if (leaf !== undefined) clear(leaf, mapOf(mark), index & MASK);
  }

  /** True where the entry at `index` has the mark (xa_get_mark). */
  getMark(index: number, mark: XaMark): boolean {
    return this.#leaf(index)?.has(mapOf(mark), index & MASK) ?? false;
  }

  /** True where any entry has the mark (xa_marked). */
  marked(mark: XaMark): boolean {
    return this.#root?.any(mapOf(mark)) ?? false;
  }

  /** The first entry from `start` to `max`, both inclusive, that has the mark if one is given (xa_find). */
  find(start: number, max = Number.POSITIVE_INFINITY, mark?: XaMark): T | undefined {
    return this.collect(start, max, 1, mark)[0];
  }

  /** Up to `limit` entries from `start` to `max`, both inclusive, in order; only those with the mark if one is given. */
  collect(start: number, max: number, limit: number, mark?: XaMark): T[] {
    const found: T[] = [];
    let node = this.#root;
    if (node === undefined || start > this.#max) return found;
    const map = mark === undefined ? PRESENT : mapOf(mark);
    let slot = slotOf(start, node.level);
    // True while the path is that of `start`; left of it nothing counts, right of it everything does.
    let onPath = true;
    while (node !== undefined && found.length < limit) {
      const next: number = node.next(map, slot);
      if (next === SLOTS) {
        slot = node.offset + 1;
        node = node.parent;
        onPath = false;
        continue;
      }
      if (next !== slot) onPath = false;
      const child: Node<T> | T | undefined = node.slots[next];
      if (node.level === 0) {
        const entry = child as T;
        if (entry.index > max) break;
        found.push(entry);
        slot = next + 1;
      } else {
        node = child as Node<T>;
        slot = onPath ? slotOf(start, node.level) : 0;
      }
    }
    return found;
  }

  #leaf(index: number): Node<T> | undefined {
    if (index > this.#max) return undefined;
    let node = this.#root;
    while (node !== undefined && node.level > 0) node = node.slots[slotOf(index, node.level)] as Node<T> | undefined;
    return node;
  }

  /** Make the tree high enough for `index`. @returns the root */
  #grow(index: number): Node<T> {
    let root = this.#root;
    if (root === undefined) {
      root = new Node<T>(0, undefined, 0);
      this.#max = MASK;
    }
    while (index > this.#max) {
      const above: Node<T> = new Node<T>(root.level + 1, undefined, 0);
      if (root.any(PRESENT)) {
        above.slots[0] = root;
        root.parent = above;
        for (let map = PRESENT; map < MAPS_END; map += 2) if (root.any(map)) above.bits[map] = 1;
      }
      root = above;
      this.#max = SLOTS ** (root.level + 1) - 1;
    }
    this.#root = root;
    return root;
  }

  /** Drop the nodes that `leaf` was the last user of, and the levels that are not needed any more. */
  #prune(leaf: Node<T>): void {
    let node = leaf;
    while (!node.any(PRESENT)) {
      const { parent } = node;
      if (parent === undefined) {
        this.#root = undefined;
        this.#max = -1;
        return;
      }
      parent.slots[node.offset] = undefined;
      node = parent;
    }
    let root = this.#root;
    while (root !== undefined && root.level > 0 && root.bits[PRESENT] === 1 && root.bits[PRESENT + 1] === 0) {
      root = root.slots[0] as Node<T>;
      root.parent = undefined;
      this.#root = root;
      this.#max = SLOTS ** (root.level + 1) - 1;
    }
  }
}

/** Set a bit and those above it that say that something below has it. */
function set<T>(leaf: Node<T>, map: number, slot: number): void {
  let node: Node<T> | undefined = leaf;
  let at = slot;
  while (node !== undefined && !node.has(map, at)) {
    const half = map + (at >> 5);
    node.bits[half] = (node.bits[half] ?? 0) | (1 << (at & 31));
    at = node.offset;
    node = node.parent;
  }
}

/** Clear a bit, and those above it where nothing below has it any more. */
function clear<T>(leaf: Node<T>, map: number, slot: number): void {
  let node: Node<T> | undefined = leaf;
  let at = slot;
  while (node?.has(map, at) === true) {
    const half = map + (at >> 5);
    node.bits[half] = (node.bits[half] ?? 0) & ~(1 << (at & 31));
    if (node.any(map)) return;
    at = node.offset;
    node = node.parent;
  }
}
