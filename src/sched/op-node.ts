/** The operations under way in a task, innermost first, as a path of shared nodes: entering an operation allocates nothing once its path is known. */
import type { Row } from '../contract/row.js';

/** Every so many calls of one it moves up by a place: what is called often gets to the front, whatever was called first. */
const MOVES = 64;

/**
 * The operations that were called from one place: a list, because the right one stands near its front, and a look at it touches nothing else. Memory is what entering an operation
 * costs most: requests come so far apart that the processor's caches have forgotten it.
 */
export class OpNodes {
  #first: OpNode | undefined;

  /** The node of `row`, if it was called from here before. */
  find(row: Row): OpNode | undefined {
    const first = this.#first;
    if (first === undefined || first.row === row) return first;
    return this.#findBehind(first, row);
  }

  #findBehind(first: OpNode, row: Row): OpNode | undefined {
    let before: OpNode | undefined;
    let at = first;
    for (let next = at.next; next !== undefined; next = next.next) {
      if (next.row === row) {
        if (next.calls % MOVES === 0) this.#swap(before, at, next);
        return next;
      }
      before = at;
      at = next;
    }
    return undefined;
  }

  /** Put one before the one that it stands behind. @param before what stands before both */
  #swap(before: OpNode | undefined, one: OpNode, other: OpNode): void {
    one.next = other.next;
    other.next = one;
    if (before === undefined) this.#first = other;
    else before.next = other;
  }

  /** It is called from here for the first time. */
  add(node: OpNode): void {
    node.next = this.#first;
    this.#first = node;
  }
}

export class OpNode {
  readonly row: Row;
  /** Another one that was called from the same place. */
  next: OpNode | undefined;
  /** How often this path was entered. */
  calls = 0;
  /** What the lock context keeps about the row; its own business. */
  readonly checks: object;
  /** The operation that called this one; undefined for the outermost. */
  readonly parent: OpNode | undefined;
  /** Those that were called from here. */
  readonly inner = new OpNodes();

  constructor(row: Row, parent: OpNode | undefined, checks: object) {
    this.row = row;
    this.parent = parent;
    this.checks = checks;
  }

  /** The rows from the outermost to this one. */
  rows(): Row[] {
    const rows: Row[] = [];
    for (let at: OpNode | undefined = this; at !== undefined; at = at.parent) rows.unshift(at.row);
    return rows;
  }
}
