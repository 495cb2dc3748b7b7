/**
 * Chains: the sequences in which locks were held, as a tree. A chain that was validated once needs no second look, so that taking a lock costs one
 * step down the tree, and giving it back one step up (the chain cache of lockdep, exact instead of hashed).
 */

import type { LockClass, ReadState, Trace } from './class.js';
import type { Fault } from './fault.js';

/** The parts of a chain's link: read state, whether completions are off, whether it was a try, and the class. */
export const LINK_IRQ_OFF = 4;
export const LINK_TRY = 8;
export const LINK_SHIFT = 4;

const FEW = 8;

/** The read state in a link. */
export function readOf(link: number): ReadState {
  return (link & 3) as ReadState;
}

export class ChainNode {
  /** What was taken last: class, read state and so on. */
  readonly link: number;
  readonly cls: LockClass | undefined;
  readonly parent: ChainNode | undefined;
  /** How often a task came here. */
  count = 0;
  /** It may be passed without a look: validated, and without an order among instances. */
  plain = false;
  /** It was validated as well, and nothing but the order among instances needs a look. */
  ordered = false;
  validated = false;
  /** What is wrong with it, if anything. */
  fault: Fault | undefined;
  /** Where its last lock was first taken. */
  trace: Trace | undefined;
  /** The chains that go on from here: the first few are looked through one by one, which is faster than a map as long as they are few. */
  readonly #links: number[] = [];
  readonly #nodes: ChainNode[] = [];
  #more: Map<number, ChainNode> | undefined;

  constructor(link: number, cls: LockClass | undefined, parent: ChainNode | undefined) {
    this.link = link;
    this.cls = cls;
    this.parent = parent;
  }

  find(link: number): ChainNode | undefined {
    const links = this.#links;
    for (let i = 0; i < links.length; i++) if (links[i] === link) return this.#nodes[i];
    return this.#more?.get(link);
  }

  add(link: number, cls: LockClass): ChainNode {
    const node = new ChainNode(link, cls, this);
    if (this.#links.length < FEW) {
      this.#links.push(link);
      this.#nodes.push(node);
    } else {
      this.#more ??= new Map();
      this.#more.set(link, node);
    }
    return node;
  }

  get next(): readonly ChainNode[] {
    return [...this.#nodes, ...(this.#more?.values() ?? [])];
  }
}

/** Every chain of the tree below `root`, depth first. */
export function* chainsOf(root: ChainNode): Generator<ChainNode> {
  for (const node of root.next) {
    yield node;
    yield* chainsOf(node);
  }
}
