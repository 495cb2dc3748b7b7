/** Looking at every node of a B+tree, for fsck: nothing that is read is trusted, and all that is wrong is told. */
import { brelse, sb_bread } from '../../block/buffer-cache.js';
import type { BufferHead } from '../../block/buffer-head.js';
import type { Task } from '../../sched/task.js';
import { NODE_HEAD } from '../format/tree.js';
import { Node, type TreeFormat } from './node.js';
import { nodeProblem, type TreeHost } from './tree.js';

/** A broken invariant. */
export interface Problem {
  /** Where: a block of the device, or undefined for what is inside of the inode. */
  readonly block: number | undefined;
  readonly message: string;
}

export interface TreeVisitor {
  problem(problem: Problem): void;
  /**
   * Whether the block of a node may be read: fsck counts it as in use. Called once for each place that names it.
   * @returns false where something else has it
   */
  node(block: number): boolean;
  /** A leaf record, with its length within the node. */
  record(data: Buffer, at: number, key: number, block: number | undefined): void;
}

/** Check a whole tree. @param blocks how many blocks the device has */
export async function checkTree(
  task: Task,
  host: TreeHost,
  format: TreeFormat,
  root: Buffer,
  blocks: number,
  visitor: TreeVisitor,
): Promise<void> {
  const checker = new Checker(task, host, format, blocks, visitor);
  const node = new Node(format, root, 0, root.length);
  const problem = node.problem();
  if (problem !== undefined) visitor.problem({ block: undefined, message: problem });
  else await checker.check(node, 0, Number.MAX_SAFE_INTEGER);
}

class Checker {
  readonly #task: Task;
  readonly #host: TreeHost;
  readonly #format: TreeFormat;
  readonly #blocks: number;
  readonly #visitor: TreeVisitor;

  constructor(task: Task, host: TreeHost, format: TreeFormat, blocks: number, visitor: TreeVisitor) {
    this.#task = task;
    this.#host = host;
    this.#format = format;
    this.#blocks = blocks;
    this.#visitor = visitor;
  }

  /** Its keys must lie from `low` to `high` exclusive. */
  async check(node: Node, low: number, high: number): Promise<void> {
    const block = node.bh?.b_blocknr;
    const { count, level } = node;
    const tell = (message: string): void => this.#visitor.problem({ block, message });
    if (level > 0 && count === 0) tell('an inner node without children');
    if (level > 0 && count > 0 && node.key(0) !== low) tell(`the first key is ${node.key(0)}, not ${low}`);
    for (let i = 0; i < count; i++) {
      const at = node.at(i);
      const key = node.keyOf(at);
      if (key < low || key >= high) tell(`key ${key} lies outside of ${low} to ${high}`);
      if (level === 0) this.#visitor.record(node.data, at, key, block);
      else await this.#child(node, i, key, i + 1 < count ? node.key(i + 1) : high);
    }
  }

  async #child(parent: Node, i: number, low: number, high: number): Promise<void> {
    const block = parent.child(i);
    const tell = (message: string): void => this.#visitor.problem({ block, message });
    if (block === 0 || block >= this.#blocks) {
      tell('a node outside of the device');
      return;
    }
    if (!this.#visitor.node(block)) return;
    let bh: BufferHead;
    try {
      bh = await sb_bread(this.#task, this.#host.bdev, block);
    } catch (error) {
      tell(String(error));
      return;
    }
    try {
      const node = new Node(this.#format, bh.b_data, NODE_HEAD, this.#host.bodyBytes, bh);
      const problem = nodeProblem(this.#host, node);
      if (problem !== undefined) tell(problem);
      else if (node.level !== parent.level - 1) tell(`level ${node.level} under ${parent.level}`);
      else await this.check(node, low, high);
    } finally {
      brelse(bh);
    }
  }
}
