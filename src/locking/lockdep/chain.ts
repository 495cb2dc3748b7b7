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

/** Every so many visits to one it moves up by a place among those that go on from the same chain. */
const MOVES = 64;

/** The read state in a link. */
export function readOf(link: number): ReadState {
  return (link & 3) as ReadState;
}

export class ChainNode {
  // What every acquisition looks at stands first, in one line of the processor's cache.
  /** What was taken last: class, read state and so on. */
  readonly link: number;
  /** Another one that goes on from the same chain. */
  #next: ChainNode | undefined;
  /** The first of those that go on from here: what is taken often stands near the front, and a look at it touches nothing else. */
  #first: ChainNode | undefined;
  /** How often a task came here. */
  count = 0;
  /** It may be passed without a look: validated, and without an order among instances. */
  plain = false;
  readonly cls: LockClass | undefined;
  readonly parent: ChainNode | undefined;
  /** It was validated as well, and nothing but the order among instances needs a look. */
  ordered = false;
  validated = false;
  /** What is wrong with it, if anything. */
  fault: Fault | undefined;
  /** Where its last lock was first taken. */
  trace: Trace | undefined;

  constructor(link: number, cls: LockClass | undefined, parent: ChainNode | undefined) {
    this.link = link;
    this.cls = cls;
    this.parent = parent;
  }

  /** The chain that goes on from here with that link, if there was such a one. */
  find(link: number): ChainNode | undefined {
    const first = this.#first;
    if (first === undefined || first.link === link) return first;
    return this.#findBehind(first, link);
  }

  #findBehind(first: ChainNode, link: number): ChainNode | undefined {
    let before: ChainNode | undefined;
    let at = first;
    for (let next = at.#next; next !== undefined; next = next.#next) {
      if (next.link === link) {
        if (next.count % MOVES === 0) this.#swap(before, at, next);
        return next;
      }
      before = at;
      at = next;
    }
    return undefined;
  }

  /** Put one before the one that it stands behind. @param before what stands before both */
  #swap(before: ChainNode | undefined, one: ChainNode, other: ChainNode): void {
    one.#next = other.#next;
    other.#next = one;
    if (before === undefined) this.#first = other;
    else before.#next = other;
  }

  add(link: number, cls: LockClass): ChainNode {
    const node = new ChainNode(link, cls, this);
    node.#next = this.#first;
    this.#first = node;
    return node;
  }

  /** All that go on from here. */
  *following(): Generator<ChainNode> {
    for (let node = this.#first; node !== undefined; node = node.#next) yield node;
  }
}

/** Every chain of the tree below `root`, depth first. */
export function* chainsOf(root: ChainNode): Generator<ChainNode> {
  for (const node of root.following()) {
    yield node;
    yield* chainsOf(node);
  }
}
