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
  /** The two that were taken last: most tasks go on with one of them. */
  #last: ChainNode | undefined;
  #other: ChainNode | undefined;
  #next: Map<number, ChainNode> | undefined;

  constructor(link: number, cls: LockClass | undefined, parent: ChainNode | undefined) {
    this.link = link;
    this.cls = cls;
    this.parent = parent;
  }

  find(link: number): ChainNode | undefined {
    const last = this.#last;
    if (last !== undefined && last.link === link) return last;
    const other = this.#other;
    if (other !== undefined && other.link === link) return other;
    const found = this.#next?.get(link);
    if (found !== undefined) this.#remember(found);
    return found;
  }

  add(link: number, cls: LockClass): ChainNode {
    const node = new ChainNode(link, cls, this);
    this.#next ??= new Map();
    this.#next.set(link, node);
    this.#remember(node);
    return node;
  }

  #remember(node: ChainNode): void {
    this.#other = this.#last;
    this.#last = node;
  }

  get next(): Iterable<ChainNode> {
    return this.#next?.values() ?? [];
  }
}

/** Every chain of the tree below `root`, depth first. */
export function* chainsOf(root: ChainNode): Generator<ChainNode> {
  for (const node of root.next) {
    yield node;
    yield* chainsOf(node);
  }
}
