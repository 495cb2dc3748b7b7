/**
 * A B+tree of records with unique numeric keys, in blocks that are changed under a journal's handle. Its root is part of something else, so that a small
 * tree takes no block of its own. What is found in the buffer cache is done at once, without a promise. Nothing of it is kept in memory but the
 * buffers: whoever uses it sees to it by a lock (i_rwsem of a directory, i_data_sem of a file) that nobody changes it meanwhile.
 */
import { crc32 } from 'node:zlib';
import type { BlockDevice } from '../../block/block-device.js';
import { brelse } from '../../block/buffer.js';
import { sb_bread } from '../../block/buffer-cache.js';
import { BLOCK_SIZE, type BufferHead } from '../../block/buffer-head.js';
import { type Awaitable, andThen, withCleanup } from '../../sched/awaitable.js';
import { type Errno, errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { NODE_HEAD, NODE_MAGIC } from '../format/tree.js';
import type { FrozenTrigger, Handle } from '../journal/types.js';
import { Node, type TreeFormat } from './node.js';
import type { Path } from './path.js';

/** What a tree is part of. */
export interface TreeHost {
  readonly bdev: BlockDevice;
  /** The inode that it belongs to. */
  readonly ino: number;
  /** What its checksums begin with: see checksumSeed. */
  readonly seed: number;
  /** Its nodes have no checksums: the device ends with the process. */
  readonly unchecked?: boolean;
  /** Bytes of a body in a block; smaller in tests that want deep trees. */
  readonly bodyBytes: number;
  /** Take a block for a node, near `goal` where that is given. @throws ENOSPC */
  allocate(task: Task, handle: Handle, goal: number | undefined): Awaitable<number>;
  /** Give the block of a node back, whose buffer was forgotten. */
  free(task: Task, handle: Handle, block: number): Awaitable<void>;
  /** The root's bytes will be changed. */
  root_access(task: Task, handle: Handle): Awaitable<void>;
  /** The root's bytes were changed. */
  root_changed(task: Task, handle: Handle): Awaitable<void>;
}

/** Bytes of a body in a block of the device. */
export const BODY_BYTES = BLOCK_SIZE - NODE_HEAD;

/** Blocks that taking or giving back blocks near each other may dirty: bitmaps, and what counts the free blocks. */
export const SPACE_CREDITS = 5;

/** Looks at a record: its bytes are `data` from `at` on. */
type Look<T> = (data: Buffer, at: number, key: number) => T;

type Visit = (data: Buffer, at: number, key: number, given?: unknown) => boolean;

/** What is wrong with a node that was read. */
export function nodeProblem(host: TreeHost, node: Node): string | undefined {
  const { data, bh } = node;
  if (bh !== undefined) {
    if (data.readUInt32LE(4) !== NODE_MAGIC) return 'no node of a tree';
    if (host.unchecked !== true && data.readUInt32LE(0) !== nodeChecksum(host.seed, data))
      return 'the checksum is wrong';
    if (data.readUIntLE(8, 6) !== host.ino) return `a node of inode ${data.readUIntLE(8, 6)}`;
    if (data.readUInt32LE(16) !== bh.b_blocknr) return `a node of block ${data.readUInt32LE(16)}`;
  }
  return node.problem();
}

function nodeChecksum(seed: number, data: Buffer): number {
  return crc32(data.subarray(4), seed);
}

export class BTree {
  readonly host: TreeHost;
  readonly format: TreeFormat;
  readonly root: Node;
  /** Puts the checksum into a node that is about to be copied to the log. */
  readonly #seal: FrozenTrigger | undefined;

  /**
   * @param root the root's body, in place
   * @throws EIO where that is no root of such a tree
   */
  constructor(host: TreeHost, format: TreeFormat, root: Buffer) {
    this.host = host;
    this.format = format;
    this.root = new Node(format, root, 0, root.length);
    const { seed } = host;
    this.#seal =
      host.unchecked === true ? undefined : ({ b_data }) => b_data.writeUInt32LE(nodeChecksum(seed, b_data), 0);
    const problem = this.root.problem();
    if (problem !== undefined) throw this.damaged(undefined, problem);
  }

  /**
   * Blocks that one `put`, `update` or `remove` may dirty, the root's own block not counted: two on each level (a node and the one that it is split into or
   * joined with), one more where the tree gets a level, and what counts the free blocks, which are taken near each other.
   */
  get credits(): number {
    return 2 * this.root.level + 2 + SPACE_CREDITS;
  }

  damaged(block: number | undefined, problem: string): Errno {
    const where = block === undefined ? 'the root' : `block ${block}`;
    return errno('EIO', `${this.format.name} of inode ${this.host.ino}: ${where}: ${problem}`);
  }

  /** Child `i` of an inner node, with a reference. @throws EIO also where it is damaged */
  child(task: Task, parent: Node, i: number): Awaitable<Node> {
    const block = parent.child(i);
    const bh = sb_bread(task, this.host.bdev, block);
    if (bh instanceof Promise) return bh.then((read) => this.#wrap(parent, read));
    return this.#wrap(parent, bh);
  }

  #wrap(parent: Node, bh: BufferHead): Node {
    const node = new Node(this.format, bh.b_data, NODE_HEAD, this.host.bodyBytes, bh);
    let problem: string | undefined;
    if (!bh.verified) problem = nodeProblem(this.host, node);
    if (problem === undefined && node.level !== parent.level - 1) problem = `level ${node.level} under ${parent.level}`;
    if (problem !== undefined) {
      brelse(bh);
      throw this.damaged(bh.b_blocknr, problem);
    }
    bh.verified = true;
    return node;
  }

  /** Give a node's reference back. */
  release(node: Node): void {
    if (node.bh !== undefined && !node.freed) brelse(node.bh);
  }

  /**
   * Call `visit` with the record of the greatest key that is not above `key`. It must not keep the bytes, and return something.
   * @returns what it returned, or undefined where there is no such record
   * @throws EIO
   */
  floor<T>(task: Task, key: number, visit: Look<T>): Awaitable<T | undefined> {
    return this.#floor(task, this.root, key, visit);
  }

  #floor<T>(task: Task, node: Node, key: number, visit: Look<T>): Awaitable<T | undefined> {
    const i = node.search(key);
    if (i < 0) return undefined;
    if (node.level === 0) {
      const at = node.at(i);
      return visit(node.data, at, node.keyOf(at));
    }
    return this.#floorBefore(task, node, i, key, visit);
  }

  /** In child `i`; in the one before it where that has none: its first record may be above its bound. */
  #floorBefore<T>(task: Task, node: Node, i: number, key: number, visit: Look<T>): Awaitable<T | undefined> {
    const found = andThen(this.child(task, node, i), BTree.#floorOf<T>, this, task, key, visit);
    if (found instanceof Promise) return this.#floorLater(found, task, node, i, key, visit);
    return found !== undefined || i === 0 ? found : this.#floorBefore(task, node, i - 1, key, visit);
  }

  async #floorLater<T>(
    found: Promise<T | undefined>,
    task: Task,
    node: Node,
    i: number,
    key: number,
    visit: Look<T>,
  ): Promise<T | undefined> {
    const value = await found;
    return value !== undefined || i === 0 ? value : await this.#floorBefore(task, node, i - 1, key, visit);
  }

  static #floorOf<T>(child: Node, tree: BTree, task: Task, key: number, visit: Look<T>): Awaitable<T | undefined> {
    return withCleanup(BTree.#floorIn<T>, BTree.#releaseNode, tree, child, task, key, visit);
  }

  static #floorIn<T>(tree: BTree, node: Node, task: Task, key: number, visit: Look<T>): Awaitable<T | undefined> {
    return tree.#floor(task, node, key, visit);
  }

  static #releaseNode(tree: BTree, node: Node): void {
    tree.release(node);
  }

  /**
   * Call `visit` with the records from `from` on, and what it is given, in the order of the keys, until it returns false. It must not keep the bytes, nor
   * change the tree.
   * @returns false where it ended that
   * @throws EIO
   */
  walk<G extends [given?: unknown]>(
    task: Task,
    from: number,
    visit: (data: Buffer, at: number, key: number, ...given: G) => boolean,
    ...given: G
  ): Awaitable<boolean>;
  walk(task: Task, from: number, visit: Visit, given?: unknown): Awaitable<boolean> {
    return this.#walk(task, this.root, from, visit, given);
  }

  #walk(task: Task, node: Node, from: number, visit: Visit, given: unknown): Awaitable<boolean> {
    const first = node.search(from);
    if (node.level > 0) return this.#walkChildren(task, node, Math.max(0, first), from, visit, given);
    const { count } = node;
    for (let i = Math.max(0, first); i < count; i++) {
      const at = node.at(i);
      const key = node.keyOf(at);
      if (key >= from && !visit(node.data, at, key, given)) return false;
    }
    return true;
  }

  #walkChildren(task: Task, node: Node, first: number, from: number, visit: Visit, given: unknown): Awaitable<boolean> {
    for (let i = first; i < node.count; i++) {
      const more = andThen(this.child(task, node, i), BTree.#walkOf, this, task, from, visit, given);
      if (more instanceof Promise) {
        return andThen(more, (go) => (go ? this.#walkChildren(task, node, i + 1, from, visit, given) : false));
      }
      if (!more) return false;
    }
    return true;
  }

  static #walkOf(child: Node, tree: BTree, task: Task, from: number, visit: Visit, given: unknown): Awaitable<boolean> {
    return withCleanup(BTree.#walkIn, BTree.#releaseNode, tree, child, task, from, visit, given);
  }

  static #walkIn(tree: BTree, node: Node, task: Task, from: number, visit: Visit, given: unknown): Awaitable<boolean> {
    return tree.#walk(task, node, from, visit, given);
  }

  /** Read every node and keep a reference to it, for brelse: until then no look-up waits for the device. @throws EIO */
  async pin(task: Task): Promise<BufferHead[]> {
    const nodes: BufferHead[] = [];
    const below = async (node: Node): Promise<void> => {
      for (let i = 0; node.level > 0 && i < node.count; i++) {
        const child = await this.child(task, node, i);
        if (child.bh !== undefined) nodes.push(child.bh);
        await below(child);
      }
    };
    try {
      await below(this.root);
    } catch (error) {
      for (const bh of nodes) brelse(bh);
      throw error;
    }
    return nodes;
  }

  /** Whether it has no record. @throws EIO */
  isEmpty(task: Task): Awaitable<boolean> {
    if (this.root.level === 0) return this.root.count === 0;
    return this.walk(task, 0, () => false);
  }

  /** The nodes from the root to the leaf for `key`, with references: to be given to `releasePath`. @throws EIO */
  descend(task: Task, key: number): Awaitable<Path> {
    return this.#descend(task, key, [{ node: this.root, index: this.root.search(key) }]);
  }

  #descend(task: Task, key: number, path: Path): Awaitable<Path> {
    try {
      for (;;) {
        const last = path[path.length - 1];
        if (last === undefined || last.node.level === 0) return path;
        if (last.index < 0) throw this.damaged(last.node.bh?.b_blocknr, `no child for key ${key}`);
        const child = this.child(task, last.node, last.index);
        if (child instanceof Promise) return this.#descendLater(task, key, path, child);
        path.push({ node: child, index: child.search(key) });
      }
    } catch (error) {
      this.releasePath(path);
      throw error;
    }
  }

  async #descendLater(task: Task, key: number, path: Path, reading: Promise<Node>): Promise<Path> {
    try {
      const child = await reading;
      path.push({ node: child, index: child.search(key) });
    } catch (error) {
      this.releasePath(path);
      throw error;
    }
    return this.#descend(task, key, path);
  }

  releasePath(path: Path): void {
    for (const { node } of path) this.release(node);
  }

  /** Before the bytes of a node are changed. */
  access(task: Task, handle: Handle, node: Node): Awaitable<void> {
    return node.bh === undefined ? this.host.root_access(task, handle) : handle.get_write_access(task, node.bh);
  }

  /** After the bytes of a node were changed: the checksum follows once, with the transaction. */
  changed(task: Task, handle: Handle, node: Node): Awaitable<void> {
    const { bh } = node;
    if (bh === undefined) return this.host.root_changed(task, handle);
    return handle.dirty_metadata(task, bh, this.#seal);
  }
}
