/** Looking at every node of a B+tree, for fsck: nothing that is read is trusted, and all that is wrong is told. */

import { brelse } from '../../block/buffer.js';
import { sb_bread } from '../../block/buffer-cache.js';
import type { Task } from '../../sched/task.js';
import { BODY_HEAD, CHILD, NODE_HEAD, NODE_MAGIC, SLOT } from '../format/tree.js';
import { Node, type TreeFormat } from './node.js';
import { nodeProblem, type TreeHost } from './tree.js';

/** Where the inode is in a node's head, of which 6 bytes are used, and where there is nothing. */
const INO = 8;
const RESERVED = 20;

/** A broken invariant. */
export interface Problem {
  /** Where: a block of the device, or undefined for what is inside of the inode. */
  readonly block: number | undefined;
  readonly message: string;
  /** The device could not read the block: nothing is known of what is in it. */
  readonly unreadable?: boolean;
}

export interface TreeVisitor {
  problem(problem: Problem): void;
  /**
   * The block of a node that says itself that it is this tree's: fsck counts it as in use.
   * @returns false where something else has it: then it is not gone into
   */
  node(block: number): boolean;
  /** A leaf record, which lies within the node. @param sound its node has nothing wrong */
  record(data: Buffer, at: number, key: number, block: number | undefined, sound: boolean): void;
  /** Give also the records that are left in damaged nodes: all that could be records, in any order. */
  readonly salvage?: boolean;
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
  if (problem === undefined) {
    await checker.check(node, 0, Number.MAX_SAFE_INTEGER);
    return;
  }
  visitor.problem({ block: undefined, message: problem });
  if (visitor.salvage === true) await checker.salvage(node);
}

/** Whether there is something in the bytes of a node's head that mean nothing. */
function holdsReserved({ bh, data }: Node): boolean {
  return bh !== undefined && (data.readUInt16LE(INO + 6) !== 0 || data.readUInt32LE(RESERVED) !== 0);
}

class Checker {
  readonly #task: Task;
  readonly #host: TreeHost;
  readonly #format: TreeFormat;
  readonly #blocks: number;
  readonly #visitor: TreeVisitor;
  /** Nodes that were gone into. */
  readonly #seen = new Set<number>();

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
    if (holdsReserved(node)) tell('something lies where nothing may');
    if (level > 0 && count === 0) tell('an inner node without children');
    if (level > 0 && count > 0 && node.key(0) !== low) tell(`the first key is ${node.key(0)}, not ${low}`);
    for (let i = 0; i < count; i++) {
      const at = node.at(i);
      const key = node.keyOf(at);
      if (key < low || key >= high) tell(`key ${key} lies outside of ${low} to ${high}`);
      if (level === 0) this.#visitor.record(node.data, at, key, block, true);
      else await this.#child(node, node.child(i), key, i + 1 < count ? node.key(i + 1) : high);
    }
  }

  async #child(parent: Node, block: number, low: number, high: number): Promise<void> {
    const tell = (message: string): void => this.#visitor.problem({ block, message });
    if (block === 0 || block >= this.#blocks) {
      tell('a node outside of the device');
      return;
    }
    const node = await this.#read(block);
    if (node === undefined) return;
    try {
      const problem = nodeProblem(this.#host, node);
      if (problem !== undefined) tell(problem);
      else if (node.level !== parent.level - 1) tell(`level ${node.level} under ${parent.level}`);
      else if (this.#seen.has(block)) tell('a node that is twice in the tree');
      else if (this.#visitor.node(block)) {
        this.#seen.add(block);
        await this.check(node, low, high);
      }
      if (this.#visitor.salvage === true && this.#isOurs(node) && !this.#seen.has(block)) {
        this.#seen.add(block);
        if (problem !== undefined) await this.salvage(node);
        else await this.check(node, low, high);
      }
    } finally {
      if (node.bh !== undefined) brelse(node.bh);
    }
  }

  async #read(block: number): Promise<Node | undefined> {
    try {
      const bh = await sb_bread(this.#task, this.#host.bdev, block);
      return new Node(this.#format, bh.b_data, NODE_HEAD, this.#host.bodyBytes, bh);
    } catch (error) {
      this.#visitor.problem({ block, message: String(error), unreadable: true });
      return undefined;
    }
  }

  /** Whether a block says that it is a node of this tree, whatever else is wrong with it. */
  #isOurs(node: Node): boolean {
    const { data, bh, kind, format } = node;
    return (
      data.readUInt32LE(4) === NODE_MAGIC &&
      data.readUIntLE(8, 6) === this.#host.ino &&
      data.readUInt32LE(16) === bh?.b_blocknr &&
      kind === format.kind
    );
  }

  /** Whatever the slots of a damaged node lead to: nodes that are sound and this tree's, or what can be a record. */
  async salvage(node: Node): Promise<void> {
    const { data, base, size, format } = node;
    const slots = Math.min(node.count, Math.floor((size - BODY_HEAD) / SLOT));
    for (let i = 0; i < slots; i++) {
      const at = node.at(i);
      if (at - base < BODY_HEAD || at - base + format.keyBytes + CHILD > size) continue;
      if (await this.#salvageChild(data.readUInt32LE(at + format.keyBytes))) continue;
      if (at - base + format.minRecord > size || at - base + format.sizeOf(data, at) > size) continue;
      this.#visitor.record(data, at, node.keyOf(at), node.bh?.b_blocknr, false);
    }
  }

  async #salvageChild(block: number): Promise<boolean> {
    if (block === 0 || block >= this.#blocks || this.#seen.has(block)) return false;
    const node = await this.#read(block);
    if (node === undefined) return false;
    try {
      if (nodeProblem(this.#host, node) !== undefined) return false;
      this.#seen.add(block);
      // Which keys it should have is known to its damaged parent only.
      await this.check(node, node.level > 0 && node.count > 0 ? node.key(0) : 0, Number.MAX_SAFE_INTEGER);
      return true;
    } finally {
      if (node.bh !== undefined) brelse(node.bh);
    }
  }
}
