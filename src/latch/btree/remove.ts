/** Taking a record out of a B+tree: nodes that become too empty are joined with a neighbour, and their blocks given back. */

import { type Awaitable, andThen, withCleanup } from '../../sched/awaitable.js';
import { isErrno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { BODY_HEAD } from '../format/tree.js';
import type { Handle } from '../journal/types.js';
import type { Node } from './node.js';
import type { Path } from './path.js';
import { leafOf } from './path.js';
import { done, releasePath } from './put.js';
import type { BTree } from './tree.js';

/**
 * Take the record with that key out.
 * @returns false where there is none
 * @throws EIO, EROFS: then it is still there
 */
export function remove(tree: BTree, task: Task, handle: Handle, key: number): Awaitable<boolean> {
  return andThen(tree.descend(task, key), removeOn, tree, task, handle, key);
}

function removeOn(path: Path, tree: BTree, task: Task, handle: Handle, key: number): Awaitable<boolean> {
  return withCleanup(removeAt, releasePath, tree, path, task, handle, key);
}

function removeAt(tree: BTree, path: Path, task: Task, handle: Handle, key: number): Awaitable<boolean> {
  const { node, index } = leafOf(path);
  if (index < 0 || node.key(index) !== key) return false;
  return andThen(tree.access(task, handle, node), takeOut, tree, task, handle, path);
}

function takeOut(_may: void, tree: BTree, task: Task, handle: Handle, path: Path): Awaitable<boolean> {
  const { node, index } = leafOf(path);
  node.remove(index);
  return andThen(tree.changed(task, handle, node), shrinkIfLow, tree, task, handle, path);
}

function shrinkIfLow(_changed: void, tree: BTree, task: Task, handle: Handle, path: Path): Awaitable<boolean> {
  const { node } = leafOf(path);
  if (node === tree.root || node.used > lowWater(node) || isOnly(tree, node)) return true;
  return shrink(tree, task, handle, path).then(done);
}

/** Bytes in use at which a node looks for a neighbour to be joined with. */
function lowWater(node: Node): number {
  return (node.size - BODY_HEAD) / 4;
}

/** The only leaf of a small tree that does not fit into the root: there is nothing to be done. */
function isOnly(tree: BTree, node: Node): boolean {
  const { root } = tree;
  return root.level === 1 && root.count === 1 && node.used > (root.size - BODY_HEAD) / 2;
}

/** Two nodes are joined where that leaves room, so that the next record does not split them again. */
function mayJoin(left: Node, right: Node): boolean {
  if (left.count === 0 || right.count === 0) return true;
  return left.used + right.used <= ((left.size - BODY_HEAD) * 3) / 4;
}

/**
 * From the leaf up: join nodes that have little left. Every step leaves a whole tree. A neighbour that cannot be read ends it: what is to be done is
 * an economy only.
 */
async function shrink(tree: BTree, task: Task, handle: Handle, path: Path): Promise<void> {
  try {
    for (let depth = path.length - 1; depth > 0; depth--) {
      const step = path[depth];
      const parent = path[depth - 1];
      if (step === undefined || parent === undefined || step.node.used > lowWater(step.node)) break;
      if (!(await join(tree, task, handle, parent.node, parent.index, step.node))) break;
    }
    await lower(tree, task, handle);
  } catch (error) {
    if (!isErrno(error, 'EIO')) throw error;
  }
}

/** Join child `index` of `parent` with a neighbour. @returns whether the parent has lost a child */
async function join(
  tree: BTree,
  task: Task,
  handle: Handle,
  parent: Node,
  index: number,
  node: Node,
): Promise<boolean> {
  if (parent.count === 1) {
    if (node.count > 0) return false;
    await tree.access(task, handle, parent);
    parent.remove(0);
    // A root without children is a leaf without records.
    if (parent === tree.root) parent.init(0);
    await tree.changed(task, handle, parent);
    await giveBack(tree, task, handle, node);
    return true;
  }
  const other = await tree.child(task, parent, index > 0 ? index - 1 : index + 1);
  try {
    const [left, right, at] = index > 0 ? [other, node, index - 1] : [node, other, index];
    if (!mayJoin(left, right)) return false;
    await tree.access(task, handle, parent);
    await tree.access(task, handle, left);
    const wasEmpty = left.count === 0;
    left.append(right, 0, right.count);
    // The bound of the left one counts.
    if (wasEmpty && left.level > 0 && left.count > 0) left.setKey(0, parent.key(at));
    parent.remove(at + 1);
    await tree.changed(task, handle, left);
    await tree.changed(task, handle, parent);
    await giveBack(tree, task, handle, right);
    return true;
  } finally {
    tree.release(other);
  }
}

/** A root with one child that fits takes over what that holds. */
async function lower(tree: BTree, task: Task, handle: Handle): Promise<void> {
  const { root } = tree;
  while (root.level > 0 && root.count === 1) {
    const child = await tree.child(task, root, 0);
    try {
      if (child.used > (root.size - BODY_HEAD) / 2) return;
      await tree.access(task, handle, root);
      root.init(child.level);
      root.append(child, 0, child.count);
      await tree.changed(task, handle, root);
      await giveBack(tree, task, handle, child);
    } finally {
      tree.release(child);
    }
  }
}

async function giveBack(tree: BTree, task: Task, handle: Handle, node: Node): Promise<void> {
  if (node.bh === undefined) return;
  const { b_blocknr: block } = node.bh;
  node.freed = true;
  handle.forget(task, node.bh);
  await tree.host.free(task, handle, block);
}
