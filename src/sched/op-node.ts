/** The operations under way in a task, innermost first, as a path of shared nodes: entering an operation allocates nothing once its path is known. */
import type { Row } from '../contract/row.js';

export class OpNode {
  readonly row: Row;
  /** The operation that called this one; undefined for the outermost. */
  readonly parent: OpNode | undefined;
  /** What the lock context keeps about the row; its own business. */
  readonly checks: object;
  /** How often this path was entered. */
  calls = 0;
  /** The two that were entered last: most operations call one or two others in turns. */
  #last: OpNode | undefined;
  #other: OpNode | undefined;
  #inner: Map<Row, OpNode> | undefined;

  constructor(row: Row, parent: OpNode | undefined, checks: object) {
    this.row = row;
    this.parent = parent;
    this.checks = checks;
  }

  /** The node of `row` called from here, if it was before. */
  find(row: Row): OpNode | undefined {
    const last = this.#last;
    if (last?.row === row) return last;
    const other = this.#other;
    if (other?.row === row) return other;
    const found = this.#inner?.get(row);
    if (found !== undefined) this.#remember(found);
    return found;
  }

  /** Make the node of `row` called from here. */
  add(row: Row, checks: object): OpNode {
    const node = new OpNode(row, this, checks);
    this.#inner ??= new Map();
    this.#inner.set(row, node);
    this.#remember(node);
    return node;
  }

  #remember(node: OpNode): void {
    this.#other = this.#last;
    this.#last = node;
  }

  /** The rows from the outermost to this one. */
  rows(): Row[] {
    const rows: Row[] = [];
    for (let at: OpNode | undefined = this; at !== undefined; at = at.parent) rows.unshift(at.row);
    return rows;
  }
}
