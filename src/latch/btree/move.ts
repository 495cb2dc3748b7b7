/** Giving a record of a B+tree another key, where it stays between the same neighbours: that takes no room, so that it cannot lack any. */

import { type Awaitable, andThen, withCleanup } from '../../sched/awaitable.js';
import type { Task } from '../../sched/task.js';
import type { Handle } from '../journal/types.js';
import { leafOf } from './path.js';
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
  return andThen(tree.descend(task, to), (path) =>
    withCleanup(
      () => {
        const { node, index } = leafOf(path);
        // The greatest key that is not above the new one, or the next.
        const at = index >= 0 && node.key(index) === from ? index : index + 1;
        if (at >= node.count || node.key(at) !== from || (index >= 0 && at > index && node.key(index) === to))
          return false;
        if (node.sizeAt(node.at(at)) !== record.length) return false;
        return andThen(tree.access(task, handle, node), () => {
          node.remove(at);
          node.insert(at, record, 0, record.length);
          return andThen(tree.changed(task, handle, node), () => true);
        });
      },
      () => tree.releasePath(path),
    ),
  );
}
