/** Looking at all extents of a file, for fsck. */
import type { Task } from '../sched/task.js';
import { checkTree, type TreeVisitor } from './btree/check.js';
import type { TreeHost } from './btree/tree.js';
import { continues, endOf, MAX_LOGICAL } from './extent-list.js';
import { extent_format } from './extents.js';
import { decodeExtent, type Extent } from './format/inode.js';

export interface ExtentVisitor extends Pick<TreeVisitor, 'problem' | 'node'> {
  /** An extent that lies on the device; whether something else has its blocks is for the caller to see. */
  extent(extent: Extent, block: number | undefined): void;
}

/**
 * Check the tree of a file's extents: in order, without overlaps, joined where they continue each other, on the device.
 * @param root the area of the inode
 * @param blocks how many blocks the device has
 */
export async function checkExtents(
  task: Task,
  host: TreeHost,
  root: Buffer,
  blocks: number,
  visitor: ExtentVisitor,
): Promise<void> {
  let last: Extent | undefined;
  await checkTree(task, host, extent_format, root, blocks, {
    problem: (problem) => visitor.problem(problem),
    node: (block) => visitor.node(block),
    record: (data, at, _key, block) => {
      const extent = decodeExtent(data, at);
      const { logical, physical, length } = extent;
      const tell = (what: string): void =>
        visitor.problem({ block, message: `the extent of block ${logical} ${what}` });
      if (length === 0) tell('is empty');
      if (endOf(extent) > MAX_LOGICAL) tell('is longer than a file can be');
      if (last !== undefined && endOf(last) > logical) tell('overlaps the one before');
      if (last !== undefined && continues(last, extent)) tell('should be one with the one before');
      last = extent;
      if (physical === 0 || physical + length > blocks) tell('lies outside of the device');
      else visitor.extent(extent, block);
    },
  });
}
