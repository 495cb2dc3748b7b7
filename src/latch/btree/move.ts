/** Giving a record of a B+tree another key, where it stays between the same neighbours: that takes no room, so that it cannot lack any. */

import { type Awaitable, andThen, withCleanup } from '../../sched/awaitable.js';
import type { Task } from '../../sched/task.js';
import type { Handle } from '../journal/types.js';
import type { Node } from './node.js';
import { leafOf, type Path } from './path.js';
import { done, releasePath } from './put.js';
import type { BTree } from './tree.js';

/**
 * Put a record in the place of another one of its length.
 * @param from the key of the one that goes @param to its own
 * @returns false where there is none, or another record or the end of the leaf lies between the two keys: nothing has changed
 * @throws EIO, EROFS: likewise
 */
export function move(
  tree: BTree,
  task: Task,
  handle: Handle,
  from: number,
  to: number,
  record: Buffer,
): Awaitable<boolean> {
  return andThen(tree.descend(task, to), moveOn, tree, task, handle, { from, to, record });
}

interface Move {
  readonly from: number;
  readonly to: number;
  readonly record: Buffer;
}

function moveOn(path: Path, tree: BTree, task: Task, handle: Handle, what: Move): Awaitable<boolean> {
  return withCleanup(moveAt, releasePath, tree, path, task, handle, what);
}

function moveAt(tree: BTree, path: Path, task: Task, handle: Handle, { from, to, record }: Move): Awaitable<boolean> {
  const { node, index } = leafOf(path);
  // The greatest key that is not above the new one, or the next.
  const at = index >= 0 && node.key(index) === from ? index : index + 1;
  if (at >= node.count || node.key(at) !== from || (index >= 0 && at > index && node.key(index) === to)) return false;
  if (node.sizeAt(node.at(at)) !== record.length) return false;
  return andThen(tree.access(task, handle, node), moveIn, tree, task, handle, node, at, record);
}

function moveIn(
  _may: void,
  tree: BTree,
  task: Task,
  handle: Handle,
  node: Node,
  at: number,
  record: Buffer,
): Awaitable<boolean> {
  node.remove(at);
  node.insert(at, record, 0, record.length);
  return andThen(tree.changed(task, handle, node), done);
}
