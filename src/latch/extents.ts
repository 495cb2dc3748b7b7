/**
 * The extents of a file: which of its blocks are where on the device. A B+tree by the first block in the file, whose root is in the inode; the
 * records follow each other without overlaps, and neighbours that continue each other are one. A record (a key of 4 bytes first, see
 * format/tree.ts):
 *
 *     0  4  first block in the file
 *     4  4  blocks; the top bit says that they are preallocated and read as zeroes
 *     8  4  first block on the device
 *
 * i_data_sem is taken here, shared, to look something up; `extents-change.ts` and `extents-shift.ts` take it exclusively to change something. The last extent found
 * and the last hole are kept, until something changes.
 */
import type { BufferHead } from '../block/buffer-head.js';
import { type Exclusive, type Held, release_held } from '../locking/held.js';
import type { RwSem } from '../locking/rwsem.js';
import { type Awaitable, andThen, withCleanup } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import type { TreeFormat } from './btree/node.js';
import type { BTree } from './btree/tree.js';
import { endOf, MAX_LOGICAL } from './extent-list.js';
import { decodeExtent, EXTENT_SIZE, type Extent } from './format/inode.js';
import { KIND_EXTENTS } from './format/tree.js';
import type { Handle } from './journal/types.js';
import { Unconverted } from './unconverted.js';

/** A hole of a file, in blocks. */
export interface Hole {
  readonly logical: number;
  readonly length: number;
}

export const extent_format: TreeFormat = {
  name: 'extents',
  kind: KIND_EXTENTS,
  keyBytes: 4,
  minRecord: EXTENT_SIZE,
  maxRecord: EXTENT_SIZE,
  sizeOf: () => EXTENT_SIZE,
};

/** Called with extents in order, until it returns false. */
type Visit = (extent: Extent, given?: unknown) => boolean;

export class ExtentTree {
  readonly tree: BTree;
  readonly #sem: RwSem<'i_data_sem'>;
  readonly #subclass: number;
  #unconverted: Unconverted | undefined;
  #last: Extent | undefined;
  /** Blocks from `#hole` to `#holeEnd` exclusive are not mapped. */
  #hole = 0;
  #holeEnd = 0;

  /** @param subclass the nesting level of its lock: that of a quota file is taken while another's is held */
  constructor(tree: BTree, sem: RwSem<'i_data_sem'>, subclass = 0) {
    this.tree = tree;
    this.#sem = sem;
    this.#subclass = subclass;
  }

  /** Who writes to preallocated blocks past the page cache. */
  get unconverted(): Unconverted {
    this.#unconverted ??= new Unconverted();
    return this.#unconverted;
  }

  /**
   * Blocks that one step of a change may dirty, the inode's own and the bitmaps of data not counted. A step changes a few neighbours, whose leaves are
   * mostly one: at worst a second path, whose nodes are not split as well.
   */
  get credits(): number {
    return this.tree.credits + this.tree.root.level + 2;
  }

  /** Whether a handle has the credits for another step of a change, or gets them. */
  affords(handle: Handle): boolean {
    return handle.credits >= this.credits || handle.extend(this.credits);
  }

  /** The extent that maps `block`, or undefined for a hole. Takes i_data_sem shared. @throws EIO */
  find(task: Task, block: number): Awaitable<Extent | undefined> {
    const last = this.#last;
    if (last !== undefined && last.logical <= block && block < endOf(last)) return last;
    if (this.#hole <= block && block < this.#holeEnd) return undefined;
    return andThen(this.#sem.read(task, this.#subclass), ExtentTree.#findHeld, task, this, block);
  }

  static #findHeld(held: Held, task: Task, tree: ExtentTree, block: number): Awaitable<Extent | undefined> {
    return withCleanup(ExtentTree.#findAndKeep, release_held, held, task, tree, block);
  }

  static #findAndKeep(_held: Held, task: Task, tree: ExtentTree, block: number): Awaitable<Extent | undefined> {
    return andThen(tree.reaching(task, block), ExtentTree.#keep, tree, block);
  }

  /** What was found is likely to be asked for again. */
  static #keep(extent: Extent | undefined, tree: ExtentTree, block: number): Extent | undefined {
    if (extent !== undefined && extent.logical <= block) {
      tree.#last = extent;
      return extent;
    }
    tree.#hole = block;
    tree.#holeEnd = extent?.logical ?? MAX_LOGICAL;
    return undefined;
  }

  /** The first extent that ends behind `block`: the one that maps it, or the next. Takes i_data_sem shared. @throws EIO */
  next(task: Task, block: number): Awaitable<Extent | undefined> {
    return andThen(this.#sem.read(task, this.#subclass), ExtentTree.#nextHeld, task, this, block);
  }

  static #nextHeld(held: Held, task: Task, tree: ExtentTree, block: number): Awaitable<Extent | undefined> {
    return withCleanup(ExtentTree.#nextIn, release_held, held, task, tree, block);
  }

  static #nextIn(_held: Held, task: Task, tree: ExtentTree, block: number): Awaitable<Extent | undefined> {
    return tree.reaching(task, block);
  }

  /**
   * Call `visit` with the extents that end behind `from`, and what it is given, in order, until it returns false. Takes i_data_sem shared.
   * @returns false where it ended that
   * @throws EIO
   */
  iterate<G extends [given?: unknown]>(
    task: Task,
    from: number,
    visit: (extent: Extent, ...given: G) => boolean,
    ...given: G
  ): Awaitable<boolean>;
  iterate(task: Task, from: number, visit: Visit, given?: unknown): Awaitable<boolean> {
    return andThen(this.#sem.read(task, this.#subclass), ExtentTree.#iterateHeld, task, this, from, visit, given);
  }

  static #iterateHeld(
    held: Held,
    task: Task,
    tree: ExtentTree,
    from: number,
    visit: Visit,
    given: unknown,
  ): Awaitable<boolean> {
    return withCleanup(ExtentTree.#iterateIn, release_held, held, task, tree, from, visit, given);
  }

  static #iterateIn(
    _held: Held,
    task: Task,
    tree: ExtentTree,
    from: number,
    visit: Visit,
    given: unknown,
  ): Awaitable<boolean> {
    return andThen(tree.floor(task, from), ExtentTree.#iterateFrom, task, tree, from, visit, given);
  }

  static #iterateFrom(
    first: Extent | undefined,
    task: Task,
    { tree }: ExtentTree,
    from: number,
    visit: Visit,
    given: unknown,
  ): Awaitable<boolean> {
    if (first !== undefined && endOf(first) > from && !visit(first, given)) return false;
    return tree.walk(task, from + 1, visitRecord, { visit, given });
  }

  /** Keep the whole tree in memory, until brelse of each node. Takes i_data_sem shared. @throws EIO */
  async pin(task: Task): Promise<BufferHead[]> {
    using _sem = await this.#sem.read(task, this.#subclass);
    return await this.tree.pin(task);
  }

  /** Take i_data_sem exclusively, to change something. */
  lock(task: Task): Awaitable<Exclusive<'i_data_sem'>> {
    return this.#sem.write(task, this.#subclass);
  }

  /** Something is about to change: what was found counts no longer. With i_data_sem held exclusively until it has. */
  forget(): void {
    this.#last = undefined;
    this.#holeEnd = 0;
  }

  /** The last extent that does not begin behind `block`. With i_data_sem held. @throws EIO */
  floor(task: Task, block: number): Awaitable<Extent | undefined> {
    return this.tree.floor(task, block, decodeExtent);
  }

  /** The first extent that begins behind `block`. With i_data_sem held. @throws EIO */
  after(task: Task, block: number): Awaitable<Extent | undefined> {
    const found: Found = { extent: undefined };
    return andThen(this.tree.walk(task, block + 1, keepFirst, found), extentOf, found);
  }

  /** The first extent that ends behind `block`. With i_data_sem held. @throws EIO */
  reaching(task: Task, block: number): Awaitable<Extent | undefined> {
    return andThen(this.floor(task, block), ExtentTree.#orAfter, task, this, block);
  }

  static #orAfter(
    extent: Extent | undefined,
    task: Task,
    tree: ExtentTree,
    block: number,
  ): Awaitable<Extent | undefined> {
    return extent !== undefined && endOf(extent) > block ? extent : tree.after(task, block);
  }
}

interface Visiting {
  readonly visit: Visit;
  readonly given: unknown;
}

function visitRecord(data: Buffer, at: number, _key: number, { visit, given }: Visiting): boolean {
  return visit(decodeExtent(data, at), given);
}

/** Where a walk leaves what it has found. */
interface Found {
  extent: Extent | undefined;
}

function keepFirst(data: Buffer, at: number, _key: number, found: Found): boolean {
  found.extent = decodeExtent(data, at);
  return false;
}

function extentOf(_ended: boolean, { extent }: Found): Extent | undefined {
  return extent;
}
