/** Putting a record into a tree where its leaf has no room: nodes are split, up to a new root. */

import { brelse } from '../../block/buffer.js';
import { sb_getblk } from '../../block/buffer-cache.js';
import type { Task } from '../../sched/task.js';
import { BODY_HEAD, NODE_HEAD, NODE_MAGIC, SLOT } from '../format/tree.js';
import type { Handle } from '../journal/types.js';
import { innerRecord, Node } from './node.js';
import type { Path } from './path.js';
import { leafOf } from './path.js';
import type { BTree } from './tree.js';

/** A `put` for which nodes must be split. */
export class Splitter {
  readonly #tree: BTree;
  readonly #task: Task;
  readonly #handle: Handle;
  readonly #path: Path;
  readonly #record: Buffer;
  readonly #replaces: boolean;
  /** Nodes whose bytes change. */
  readonly #touched: Node[] = [];
  /** New nodes, with references. */
  readonly #fresh: Node[] = [];

  constructor(tree: BTree, task: Task, handle: Handle, path: Path, record: Buffer, replaces: boolean) {
    this.#tree = tree;
    this.#task = task;
    this.#handle = handle;
    this.#path = path;
    this.#record = record;
    this.#replaces = replaces;
  }

  async run(): Promise<void> {
    const fresh: Node[] = [];
    const needed = this.#plan();
    try {
      while (fresh.length < needed) fresh.push(await this.#allocate());
      for (const node of this.#touched) await this.#tree.access(this.#task, this.#handle, node);
    } catch (error) {
      for (const node of fresh) await this.#giveBack(node);
      throw error;
    }
    this.#fresh.push(...fresh);
    try {
      this.#apply();
      for (const node of [...this.#touched, ...fresh]) await this.#tree.changed(this.#task, this.#handle, node);
    } finally {
      for (const node of fresh) this.#tree.release(node);
    }
  }

  /** Find the nodes that change. @returns how many new ones it takes */
  #plan(): number {
    const { root, host, format } = this.#tree;
    const leaf = leafOf(this.#path);
    let need = this.#record.length + SLOT;
    let gained = this.#replaces ? leaf.node.sizeAt(leaf.node.at(leaf.index)) + SLOT : 0;
    let blocks = 0;
    for (let depth = this.#path.length - 1; depth >= 0; depth--) {
      const node = this.#path[depth]?.node ?? root;
      this.#touched.push(node);
      if (node.room + gained >= need) return blocks;
      if (node === root) {
        // What it holds moves into a child, which is split in turn where that has no room either.
        return blocks + (host.bodyBytes - BODY_HEAD - (root.used - gained) >= need ? 1 : 2);
      }
      blocks++;
      need = format.keyBytes + 4 + SLOT;
      gained = 0;
    }
    return blocks;
  }

  async #allocate(): Promise<Node> {
    const { host, format } = this.#tree;
    const near = leafOf(this.#path).node.bh?.b_blocknr;
    const block = await host.allocate(this.#task, this.#handle, near === undefined ? undefined : near + 1);
    try {
      const bh = sb_getblk(this.#task, host.bdev, block);
      try {
        await this.#handle.get_write_access(this.#task, bh);
      } catch (error) {
        brelse(bh);
        throw error;
      }
      const { b_data: data } = bh;
      data.fill(0);
      data.writeUInt32LE(NODE_MAGIC, 4);
      data.writeUIntLE(host.ino, 8, 6);
      data.writeUInt32LE(block, 16);
      bh.uptodate = true;
      bh.verified = true;
      return new Node(format, data, NODE_HEAD, host.bodyBytes, bh);
    } catch (error) {
      await host.free(this.#task, this.#handle, block);
      throw error;
    }
  }

  async #giveBack(node: Node): Promise<void> {
    if (node.bh === undefined) return;
    const { b_blocknr: block } = node.bh;
    this.#handle.forget(this.#task, node.bh);
    await this.#tree.host.free(this.#task, this.#handle, block);
  }

  /** Nothing in here waits or fails. */
  #apply(): void {
    const { root } = this.#tree;
    let depth = this.#path.length - 1;
    const leaf = leafOf(this.#path);
    let record = this.#record;
    let position = leaf.index + 1;
    if (this.#replaces) {
      leaf.node.remove(leaf.index);
      position--;
    }
    for (;;) {
      const node = this.#path[depth]?.node ?? root;
      if (node.room >= record.length + SLOT) {
        node.insert(position, record, 0, record.length);
        return;
      }
      if (node === root) {
        this.#grow(position, record);
        return;
      }
      const right = this.#next();
      split(node, right, position, record, this.#isLast(depth));
      depth--;
      record = innerRecord(node.format, right.key(0), right.bh?.b_blocknr ?? 0);
      position = (this.#path[depth]?.index ?? 0) + 1;
    }
  }

  /** The tree gets a level: a child takes over what the root holds. */
  #grow(position: number, record: Buffer): void {
    const { root, format } = this.#tree;
    const child = this.#next();
    child.init(root.level);
    child.append(root, 0, root.count);
    root.init(root.level + 1);
    const known = innerRecord(format, 0, child.bh?.b_blocknr ?? 0);
    root.insert(0, known, 0, known.length);
    if (child.room >= record.length + SLOT) {
      child.insert(position, record, 0, record.length);
      return;
    }
    const right = this.#next();
    split(child, right, position, record, true);
    const second = innerRecord(format, right.key(0), right.bh?.b_blocknr ?? 0);
    root.insert(1, second, 0, second.length);
  }

  #next(): Node {
    const node = this.#fresh.pop();
    if (node === undefined) throw new Error('a split that was not planned');
    return node;
  }

  /** Whether nothing comes after the node at `depth` in the whole tree. */
  #isLast(depth: number): boolean {
    return this.#path.slice(0, depth).every(({ node, index }) => index === node.count - 1);
  }
}

/**
 * Put a record into a node that has no room for it, by moving the upper part into `right`.
 * @param last nothing comes after the node: records that come in order leave full nodes behind
 */
function split(node: Node, right: Node, position: number, record: Buffer, last: boolean): void {
  right.init(node.level);
  const { count } = node;
  if (last && position === count) {
    right.insert(0, record, 0, record.length);
    return;
  }
  const total = node.used + record.length + SLOT;
  // How many records stay, the new one counted: those that begin in the first half of the bytes and have most of theirs there.
  let stay = 0;
  for (let bytes = 0; stay < count; stay++) {
    const i = stay < position ? stay : stay - 1;
    const length = stay === position ? record.length : node.sizeAt(node.at(i));
    if (stay > 0 && bytes + (length + SLOT) / 2 > total / 2) break;
    bytes += length + SLOT;
  }
  const goesLeft = position < stay;
  const from = goesLeft ? stay - 1 : stay;
  if (goesLeft) {
    right.append(node, from, count);
    node.truncate(from);
    node.insert(position, record, 0, record.length);
  } else {
    right.append(node, from, position);
    right.insert(right.count, record, 0, record.length);
    right.append(node, position, count);
    node.truncate(from);
  }
}
