/** The operations under way in a task, innermost first, as a path of shared nodes: entering an operation allocates nothing once its path is known. */
import type { Row } from '../contract/row.js';

/** So many are looked through one by one, which is faster than a map as long as they are few. */
const FEW = 8;

/** The operations that were called from one place. */
export class OpNodes {
  /** The first few. */
  readonly #nodes: OpNode[] = [];
  /** The others. */
  #more: Map<Row, OpNode> | undefined;

  /** The node of `row`, if it was called from here before. */
  find(row: Row): OpNode | undefined {
    const nodes = this.#nodes;
    for (let i = 0; i < nodes.length; i++) {
      const node = nodes[i];
      if (node?.row === row) return node;
    }
    return this.#more?.get(row);
  }

  /** It is called from here for the first time. */
  add(node: OpNode): void {
    if (this.#nodes.length < FEW) this.#nodes.push(node);
    else {
      this.#more ??= new Map();
      this.#more.set(node.row, node);
    }
  }
}

export class OpNode {
  readonly row: Row;
  /** The operation that called this one; undefined for the outermost. */
  readonly parent: OpNode | undefined;
  /** What the lock context keeps about the row; its own business. */
  readonly checks: object;
  /** How often this path was entered. */
  calls = 0;
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
