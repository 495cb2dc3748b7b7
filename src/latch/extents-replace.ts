/** What all changes of a file's extents come down to: some neighbours take the place of others, and where that fails nothing has changed. */
import { type Awaitable, andThen } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import { move } from './btree/move.js';
import { put, update } from './btree/put.js';
import { remove } from './btree/remove.js';
import type { BTree } from './btree/tree.js';
import { merged, same } from './extent-list.js';
import { EXTENT_SIZE, type Extent, encodeExtent } from './format/inode.js';
import type { Handle } from './journal/types.js';

/** What leads from one list of extents to another. */
interface Plan {
  /** Begin where an old one begins. */
  readonly changed: readonly Extent[];
  readonly added: readonly Extent[];
  /** Where those begin that are there no longer. */
  readonly gone: number[];
}

/**
 * Put the extents of one list in the place of those of another. Records that are new come first, because only they can lack space: then nothing has
 * changed. The beginning of an extent can move without that. With i_data_sem held exclusively.
 * @param from some that are there, each once
 * @param to in order; neighbours that continue each other become one
 * @throws ENOSPC, EIO
 */
export function replace(
  tree: BTree,
  task: Task,
  handle: Handle,
  from: readonly (Extent | undefined)[],
  to: readonly (Extent | undefined)[],
): Awaitable<void> {
  const plan = planOf(from, to);
  const [fresh] = plan.added;
  const [gone] = plan.gone;
  if (fresh === undefined || plan.added.length > 1 || gone === undefined) return addAndSettle(tree, task, handle, plan);
  const moved = move(tree, task, handle, gone, fresh.logical, recordOf(fresh));
  return andThen(moved, settleMoved, tree, task, handle, plan);
}

function planOf(from: readonly (Extent | undefined)[], to: readonly (Extent | undefined)[]): Plan {
  const old: Extent[] = [];
  for (const extent of from) if (extent !== undefined) old.push(extent);
  const [changed, added]: [Extent[], Extent[]] = [[], []];
  for (const extent of merged(to)) {
    const known = takeFrom(old, extent.logical);
    if (known === undefined) added.push(extent);
    else if (!same(known, extent)) changed.push(extent);
  }
  return { changed, added, gone: old.map(beginOf) };
}

function takeFrom(list: Extent[], logical: number): Extent | undefined {
  for (let i = 0; i < list.length; i++) if (list[i]?.logical === logical) return list.splice(i, 1)[0];
  return undefined;
}

function beginOf({ logical }: Extent): number {
  return logical;
}

function settleMoved(moved: boolean, tree: BTree, task: Task, handle: Handle, plan: Plan): Awaitable<void> {
  if (!moved) return addAndSettle(tree, task, handle, plan);
  plan.gone.shift();
  return settle(undefined, tree, task, handle, plan, 0);
}

function addAndSettle(tree: BTree, task: Task, handle: Handle, plan: Plan): Awaitable<void> {
  return andThen(add(tree, task, handle, plan.added), settle, tree, task, handle, plan, 0);
}

/** All that takes no room. @param from the step to begin with */
function settle(_before: unknown, tree: BTree, task: Task, handle: Handle, plan: Plan, from: number): Awaitable<void> {
  const steps = plan.changed.length + plan.gone.length;
  for (let i = from; i < steps; i++) {
    const step = settleOne(tree, task, handle, plan, i);
    if (step instanceof Promise) return andThen(step, settle, tree, task, handle, plan, i + 1);
  }
  return undefined;
}

function settleOne(tree: BTree, task: Task, handle: Handle, { changed, gone }: Plan, i: number): Awaitable<unknown> {
  const extent = changed[i];
  if (extent !== undefined) return update(tree, task, handle, extent.logical, encodeExtent, extent);
  const key = gone[i - changed.length];
  return key === undefined ? undefined : remove(tree, task, handle, key);
}

function add(tree: BTree, task: Task, handle: Handle, extents: readonly Extent[]): Awaitable<void> {
  const [first, second] = extents;
  if (first === undefined) return undefined;
  const one = putExtent(tree, task, handle, first);
  return second === undefined ? one : addMore(tree, task, handle, first, extents.slice(1), one);
}

async function addMore(
  tree: BTree,
  task: Task,
  handle: Handle,
  first: Extent,
  more: readonly Extent[],
  one: Awaitable<void>,
): Promise<void> {
  await one;
  const done = [first];
  try {
    for (const extent of more) {
      await putExtent(tree, task, handle, extent);
      done.push(extent);
    }
  } catch (error) {
    for (const extent of done) await remove(tree, task, handle, extent.logical);
    throw error;
  }
}

function putExtent(tree: BTree, task: Task, handle: Handle, extent: Extent): Awaitable<void> {
  return put(tree, task, handle, extent.logical, recordOf(extent));
}

function recordOf(extent: Extent): Buffer {
  const record = Buffer.allocUnsafe(EXTENT_SIZE);
  encodeExtent(record, 0, extent);
  return record;
}
