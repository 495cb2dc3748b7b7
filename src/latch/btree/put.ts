/** Adding a record to a B+tree, or replacing one. Everything that can fail is done first: a tree that gets no block stays as it was. */

import { type Awaitable, andThen, withCleanup } from '../../sched/awaitable.js';
import type { Task } from '../../sched/task.js';
import { SLOT } from '../format/tree.js';
import type { Handle } from '../journal/types.js';
import type { Path, Step } from './path.js';
import { leafOf } from './path.js';
import { Splitter } from './split.js';
import type { BTree } from './tree.js';

/**
 * Put a record into the tree, in the place of the one with the same key where there is one.
 * @param record its bytes, key first; not kept
 * @throws ENOSPC, EIO, EROFS: then nothing has changed
 */
export function put(tree: BTree, task: Task, handle: Handle, key: number, record: Buffer): Awaitable<void> {
  return andThen(tree.descend(task, key), putOn, tree, task, handle, key, record);
}

function putOn(path: Path, tree: BTree, task: Task, handle: Handle, key: number, record: Buffer): Awaitable<void> {
  return withCleanup(putAt, releasePath, tree, path, task, handle, key, record);
}

/**
 * Change a record where it is, its length and key excepted.
 * @param change is given the node's bytes, where the record is in them, and `given`
 * @returns false where there is none with that key
 * @throws EIO, EROFS
 */
export function update<G>(
  tree: BTree,
  task: Task,
  handle: Handle,
  key: number,
  change: (data: Buffer, at: number, given: G) => void,
  given: G,
): Awaitable<boolean> {
  return andThen(tree.descend(task, key), updateOn<G>, tree, task, handle, { key, change, given });
}

interface Update<G> {
  readonly key: number;
  readonly change: (data: Buffer, at: number, given: G) => void;
  readonly given: G;
}

function updateOn<G>(path: Path, tree: BTree, task: Task, handle: Handle, to: Update<G>): Awaitable<boolean> {
  return withCleanup(updateAt<G>, releasePath, tree, path, task, handle, to);
}

function updateAt<G>(tree: BTree, path: Path, task: Task, handle: Handle, to: Update<G>): Awaitable<boolean> {
  const leaf = leafOf(path);
  const { node, index } = leaf;
  if (index < 0 || node.key(index) !== to.key) return false;
  return andThen(tree.access(task, handle, node), changeIn<G>, tree, task, handle, leaf, to);
}

function changeIn<G>(
  _may: void,
  tree: BTree,
  task: Task,
  handle: Handle,
  { node, index }: Step,
  { change, given }: Update<G>,
): Awaitable<boolean> {
  change(node.data, node.at(index), given);
  return andThen(tree.changed(task, handle, node), done);
}

/** What is returned once a record was found and changed. */
export function done(): boolean {
  return true;
}

/** Give the references of a path back, whatever else the caller has. */
export function releasePath(tree: BTree, path: Path): void {
  tree.releasePath(path);
}

function putAt(tree: BTree, path: Path, task: Task, handle: Handle, key: number, record: Buffer): Awaitable<void> {
  const leaf = leafOf(path);
  const { node, index } = leaf;
  const replaces = index >= 0 && node.key(index) === key;
  const gained = replaces ? node.sizeAt(node.at(index)) + SLOT : 0;
  if (node.room + gained < record.length + SLOT) {
    return new Splitter(tree, task, handle, path, record, replaces).run();
  }
  return andThen(tree.access(task, handle, node), replaces ? replaceIn : insertIn, tree, task, handle, leaf, record);
}

function replaceIn(
  _may: void,
  tree: BTree,
  task: Task,
  handle: Handle,
  { node, index }: Step,
  record: Buffer,
): Awaitable<void> {
  node.remove(index);
  node.insert(index, record, 0, record.length);
  return tree.changed(task, handle, node);
}

function insertIn(
  _may: void,
  tree: BTree,
  task: Task,
  handle: Handle,
  { node, index }: Step,
  record: Buffer,
): Awaitable<void> {
  node.insert(index + 1, record, 0, record.length);
  return tree.changed(task, handle, node);
}
