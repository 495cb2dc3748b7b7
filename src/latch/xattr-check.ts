/** Looking at all extended attributes of an inode, for fsck. */

import { crc32 } from 'node:zlib';
import { brelse } from '../block/buffer.js';
import { sb_bread } from '../block/buffer-cache.js';
import type { BufferHead } from '../block/buffer-head.js';
import { isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { checkTree, type TreeVisitor } from './btree/check.js';
import type { TreeHost } from './btree/tree.js';
import { NODE_HEAD } from './format/tree.js';
import { firstKey } from './names.js';
import {
  INLINE_VALUE,
  isRootOf,
  LIST_MAX,
  namesOf,
  recordHoldsReserved,
  rootHoldsReserved,
  rootProblem,
  VALUE_MAX,
  type XattrRecord,
  xattr_format,
  xattrAt,
} from './xattr-record.js';

const BLOCK = 4096;
const RESERVED = 'something lies where nothing may';
const UNREADABLE = 'has a value that the device cannot read';

export interface XattrVisitor extends Pick<TreeVisitor, 'problem' | 'node'> {
  /** Blocks of a value, whose checksum is right. */
  value(start: number, length: number): void;
}

export interface XattrsChecked {
  readonly damaged: boolean;
  /** What can be kept where they are damaged: names, and values that are whole. */
  kept(): Promise<{ readonly name: string; readonly value: Buffer }[]>;
}

/**
 * Check the attributes that an inode names: the block, its tree, and the values. `visitor.node` is called for the block as well, all once they are known to
 * be the inode's.
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
): Promise<XattrsChecked> {
  let damaged = false;
  const tell = (message: string, at = block, unreadable = false): void => {
    damaged = true;
    visitor.problem({ block: at, message, unreadable });
  };
  const lost: XattrsChecked = { damaged: true, kept: async () => [] };
  if (block >= blocks) {
    tell('attributes outside of the device');
    return lost;
  }
  let bh: BufferHead;
  try {
    bh = await sb_bread(task, host.bdev, block);
  } catch (error) {
    tell(String(error), block, true);
    return lost;
  }
  try {
    const root = Buffer.from(bh.b_data);
    const body = root.subarray(NODE_HEAD, NODE_HEAD + host.bodyBytes);
    const problem = rootProblem(host, bh);
    if (problem !== undefined) tell(problem);
    if (!isRootOf(host, bh)) return lost;
    const reader = new ValueReader(task, host, blocks, keyOf);
    const kept = (): Promise<Kept[]> => salvage(task, host, body, blocks, reader);
    if (damaged) return { damaged, kept };
    if (rootHoldsReserved(bh)) tell(RESERVED);
    visitor.node(block);
    const records: XattrRecord[] = [];
    await checkTree(task, host, xattr_format, body, blocks, {
      problem: (each) => tell(each.message, each.block, each.unreadable),
      node: (node) => visitor.node(node),
      record: (data, at, key) => {
        if (recordHoldsReserved(data, at)) tell(RESERVED);
        records.push(xattrAt(data, at, key));
      },
    });
    const bytes = records.reduce((sum, { name }) => sum + name.length + 1, 0);
    if (bytes !== namesOf(bh)) tell(`the names have ${bytes} bytes, not ${namesOf(bh)}`);
    if (bytes > LIST_MAX) tell('the names do not fit into a list');
    if (new Set(records.map(({ name }) => name)).size !== records.length) tell('a name is there twice');
    for (const record of records) {
      const value = await reader.value(record);
      if (typeof value === 'string')
        tell(`attribute ${JSON.stringify(record.name)} ${value}`, block, value === UNREADABLE);
      else for (const run of record.runs) visitor.value(run.start, run.length);
    }
    return { damaged, kept };
  } finally {
    brelse(bh);
  }
}

interface Kept {
  readonly name: string;
  readonly value: Buffer;
}

/** What is left of the attributes: each name once, as many as fit into a list, with values that are whole. */
async function salvage(task: Task, host: TreeHost, body: Buffer, blocks: number, reader: ValueReader): Promise<Kept[]> {
  const records: XattrRecord[] = [];
  await checkTree(task, host, xattr_format, body, blocks, {
    problem: () => undefined,
    node: () => true,
    record: (data, at, key) => records.push(xattrAt(data, at, key)),
    salvage: true,
  });
  const kept = new Map<string, Buffer>();
  let bytes = 0;
  for (const record of records) {
    const { name } = record;
    const value = await reader.value(record);
    if (typeof value === 'string' || kept.has(name) || bytes + name.length + 1 > LIST_MAX) continue;
    kept.set(name, value);
    bytes += name.length + 1;
  }
  return [...kept].map(([name, value]) => ({ name, value }));
}

class ValueReader {
  readonly #task: Task;
  readonly #host: TreeHost;
  readonly #blocks: number;
  readonly #keyOf: (name: string) => number;

  constructor(task: Task, host: TreeHost, blocks: number, keyOf: (name: string) => number) {
    this.#task = task;
    this.#host = host;
    this.#blocks = blocks;
    this.#keyOf = keyOf;
  }

  /** The value of an attribute, or what is wrong with it. */
  async value(record: XattrRecord): Promise<Buffer | string> {
    const { key, name, length, value, runs } = record;
    if (name === '' || name.includes('\0')) return 'has no name';
    if (firstKey(key) !== this.#keyOf(name)) return 'is not where its hash says';
    if (length > VALUE_MAX) return `has a value of ${length} bytes`;
    if (value !== undefined) return length > INLINE_VALUE ? `has a value of ${length} bytes in its record` : value;
    const count = runs.reduce((sum, run) => sum + run.length, 0);
    if (count !== Math.ceil(length / BLOCK)) return 'has not as many blocks as its value needs';
    const outside = runs.some(({ start, length: some }) => start === 0 || some === 0 || start + some > this.#blocks);
    return outside ? 'has a value outside of the device' : await this.#inBlocks(record);
  }

  async #inBlocks({ length, runs, checksum }: XattrRecord): Promise<Buffer | string> {
    const pieces: Buffer[] = [];
    for (const { start, length: count } of runs) {
      for (let at = start; at < start + count; at++) {
        try {
          const bh = await sb_bread(this.#task, this.#host.bdev, at);
          pieces.push(Buffer.from(bh.b_data));
          brelse(bh);
        } catch (error) {
          if (!isErrno(error, 'EIO')) throw error;
          return UNREADABLE;
        }
      }
    }
    const whole = Buffer.concat(pieces);
    if (crc32(whole.subarray(0, length), this.#host.seed) !== checksum) return 'has a value with a wrong checksum';
    return whole.subarray(length).every((byte) => byte === 0)
      ? whole.subarray(0, length)
      : 'has a value whose last block is not filled up with zeroes';
  }
}
