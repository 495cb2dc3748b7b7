/** A way through a B+tree, from the root to a leaf. */
import type { Node } from './node.js';

/** A node on the way to a key, and the record of it that leads on (in a leaf: the last not above the key, or -1). */
export interface Step {
  readonly node: Node;
  index: number;
}

export type Path = Step[];

/** Its last step. */
export function leafOf(path: Path): Step {
  const leaf = path[path.length - 1];
  if (leaf === undefined) throw new Error('a path without a leaf');
  return leaf;
}
