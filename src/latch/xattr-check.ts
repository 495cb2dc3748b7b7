/** Looking at all extended attributes of an inode, for fsck. */
import { crc32 } from 'node:zlib';
import { brelse, sb_bread } from '../block/buffer-cache.js';
import type { BufferHead } from '../block/buffer-head.js';
import type { Task } from '../sched/task.js';
import { checkTree, type TreeVisitor } from './btree/check.js';
import type { TreeHost } from './btree/tree.js';
import { NODE_HEAD } from './format/tree.js';
import { LIST_MAX, namesOf, rootProblem, VALUE_MAX, type XattrRecord, xattr_format, xattrAt } from './xattr-store.js';

export interface XattrVisitor extends Pick<TreeVisitor, 'problem' | 'node'> {
  /**
   * Whether blocks of a value may be read: fsck counts them as in use.
   * @returns false where something else has one of them
   */
  value(start: number, length: number): boolean;
}

/**
 * Check the attributes that an inode names: the block, its tree, and the values. `visitor.node` is called for the block as well.
 * @param block the block that the inode names, not 0
 * @param blocks how many blocks the device has
 * @param keyOf the lowest key of a name
 */
export async function checkXattrs(
  task: Task,
  host: TreeHost,
  block: number,
  blocks: number,
  keyOf: (name: string) => number,
  visitor: XattrVisitor,
): Promise<void> {
  const tell = (message: string): void => visitor.problem({ block, message });
  if (block >= blocks) {
    tell('attributes outside of the device');
    return;
  }
  if (!visitor.node(block)) return;
  let bh: BufferHead;
  try {
    bh = await sb_bread(task, host.bdev, block);
  } catch (error) {
    tell(String(error));
    return;
  }
  try {
    const problem = rootProblem(host, bh);
    if (problem !== undefined) {
      tell(problem);
      return;
    }
    const records: XattrRecord[] = [];
    await checkTree(task, host, xattr_format, bh.b_data.subarray(NODE_HEAD, NODE_HEAD + host.bodyBytes), blocks, {
      problem: (each) => visitor.problem(each.block === undefined ? { ...each, block } : each),
      node: (node) => visitor.node(node),
      record: (data, at, key) => records.push(xattrAt(data, at, key)),
    });
    const bytes = records.reduce((sum, { name }) => sum + name.length + 1, 0);
    if (bytes !== namesOf(bh)) tell(`the names have ${bytes} bytes, not ${namesOf(bh)}`);
    if (bytes > LIST_MAX) tell('the names do not fit into a list');
    if (new Set(records.map(({ name }) => name)).size !== records.length) tell('a name is there twice');
    for (const record of records) {
      const message = await recordProblem(task, host, record, blocks, keyOf, visitor);
      if (message !== undefined) tell(`attribute ${JSON.stringify(record.name)} ${message}`);
    }
  } finally {
    brelse(bh);
  }
}

async function recordProblem(
  task: Task,
  host: TreeHost,
  record: XattrRecord,
  blocks: number,
  keyOf: (name: string) => number,
  visitor: XattrVisitor,
): Promise<string | undefined> {
  const { key, name, length, value, runs, checksum } = record;
  if (name === '') return 'has no name';
  if (key - keyOf(name) < 0 || key - keyOf(name) > 255) return 'is not where its hash says';
  if (length > VALUE_MAX) return `has a value of ${length} bytes`;
  if (value !== undefined) return undefined;
  const pieces: Buffer[] = [];
  for (const { start, length: count } of runs) {
    if (start === 0 || start + count > blocks) return 'has a value outside of the device';
    if (!visitor.value(start, count)) return undefined;
    for (let at = start; at < start + count && pieces.length < VALUE_MAX / 4096; at++) {
      try {
        const bh = await sb_bread(task, host.bdev, at);
        pieces.push(Buffer.from(bh.b_data));
        brelse(bh);
      } catch (error) {
        return `has a value that cannot be read: ${String(error)}`;
      }
    }
  }
  const whole = Buffer.concat(pieces);
  if (whole.length !== Math.ceil(length / 4096) * 4096) return 'has not as many blocks as its value needs';
  return crc32(whole.subarray(0, length), host.seed) === checksum ? undefined : 'has a value with a wrong checksum';
}
