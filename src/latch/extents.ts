/**
 * The extents of a file: which of its blocks are where on the device. A B+tree by the first block in the file, whose root is in the inode; the
 * records follow each other without overlaps, and neighbours that continue each other are one. A record (a key of 4 bytes first, see
 * format/tree.ts):
 *
 *     0  4  first block in the file
 *     4  4  blocks; the top bit says that they are preallocated and read as zeroes
 *     8  4  first block on the device
 *
 * i_data_sem is taken here: shared to look something up, exclusive to change something. The last extent found and the last hole are kept, until something changes.
 */
import type { BufferHead } from '../block/buffer-head.js';
import { type Held, release_held } from '../locking/held.js';
import type { RwSem } from '../locking/rwsem.js';
import { type Awaitable, andThen, inTurn, withCleanup } from '../sched/awaitable.js';
import { type Errno, errno, isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { Run } from './alloc.js';
import { move } from './btree/move.js';
import type { TreeFormat } from './btree/node.js';
import { put, update } from './btree/put.js';
import { remove } from './btree/remove.js';
import type { BTree } from './btree/tree.js';
import { endOf, MAX_LOGICAL, merged, part, same } from './extent-list.js';
import { decodeExtent, EXTENT_SIZE, type Extent, encodeExtent } from './format/inode.js';
import { KIND_EXTENTS } from './format/tree.js';
import type { Handle } from './journal/types.js';
import { Unconverted } from './unconverted.js';
import { type Zero, zeroout } from './zeroout.js';

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

/** What remains of a move of extents: those of blocks `from` to `to` exclusive. */
export interface ShiftRest {
  readonly from: number;
  readonly to: number;
}

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
    return andThen(tree.#next(task, block), ExtentTree.#keep, tree, block);
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

  /** Keep the whole tree in memory, until brelse of each node. Takes i_data_sem shared. @throws EIO */
  pin(task: Task): Awaitable<BufferHead[]> {
    return this.#read(task, () => this.tree.pin(task));
  }

  /** The first extent that ends behind `block`: the one that maps it, or the next. Takes i_data_sem shared. @throws EIO */
  next(task: Task, block: number): Awaitable<Extent | undefined> {
    return this.#read(task, () => this.#next(task, block));
  }

  /** Call `visit` with the extents that end behind `from`, in order, until it returns false. Takes i_data_sem shared. @throws EIO */
  iterate(task: Task, from: number, visit: (extent: Extent) => boolean): Awaitable<boolean> {
    return this.#read(task, () =>
      andThen(this.#floor(task, from), (first) => {
        if (first !== undefined && endOf(first) > from && !visit(first)) return false;
        return this.tree.walk(task, from + 1, (data, at) => visit(decodeExtent(data, at)));
      }),
    );
  }

  /**
   * Map a hole. Takes i_data_sem exclusively.
   * @throws ENOSPC for a node of the tree: nothing has changed; EIO also where something is mapped there
   */
  insert(task: Task, handle: Handle, extent: Extent): Awaitable<void> {
    return this.#write(task, () =>
      andThen(this.#floor(task, extent.logical), (before) =>
        andThen(this.#after(task, extent.logical), (after) => {
          if (
            (before !== undefined && endOf(before) > extent.logical) ||
            (after?.logical ?? MAX_LOGICAL) < endOf(extent)
          ) {
            throw this.#mapped(extent);
          }
          return this.#replace(task, handle, [before, after], [before, extent, after]);
        }),
      ),
    );
  }

  /**
   * Map the beginning of a hole to blocks that `allocate` takes. Takes i_data_sem exclusively from the look at what is there on until it is mapped: writeback
   * and fallocate may come to the same hole at once.
   * @param allocate gets the extent before the hole, and how many blocks are wanted
   * @param giveBack takes them back where they cannot be mapped
   * @returns how many blocks were mapped; 0 where the first one is mapped by now
   * @throws ENOSPC, also what `allocate` throws: nothing has changed; EIO
   */
  async fill(
    task: Task,
    handle: Handle,
    hole: Hole,
    unwritten: boolean,
    allocate: (before: Extent | undefined, length: number) => Awaitable<Run>,
    giveBack: (run: Run) => Awaitable<void>,
  ): Promise<number> {
    using _sem = await this.#sem.write(task, this.#subclass);
    const before = await this.#floor(task, hole.logical);
    if (before !== undefined && endOf(before) > hole.logical) return 0;
    const after = await this.#after(task, hole.logical);
    const run = await allocate(before, Math.min(hole.length, (after?.logical ?? MAX_LOGICAL) - hole.logical));
    const extent = { logical: hole.logical, physical: run.start, length: run.length, unwritten };
    this.#forget();
    try {
      await this.#replace(task, handle, [before, after], [before, extent, after]);
    } catch (error) {
      await giveBack(run);
      throw error;
    }
    return run.length;
  }

  #mapped(extent: Extent): Errno {
    return errno('EIO', `inode ${this.tree.host.ino}: block ${extent.logical} is to be mapped twice`);
  }

  /**
   * Unmap blocks `start` to `end` exclusive, from the end on, for as long as the handle has credits. Takes i_data_sem exclusively.
   * @param freed called for each piece that is mapped no longer
   * @returns where it has come to: `start` when all is done, otherwise restart the handle and go on from there
   * @throws ENOSPC where a hole in the middle of an extent takes another node; EIO
   */
  async remove(
    task: Task,
    handle: Handle,
    start: number,
    end: number,
    freed: (piece: Extent) => Awaitable<void>,
  ): Promise<number> {
    using _sem = await this.#sem.write(task, this.#subclass);
    for (let to = end; to > start; ) {
      const extent = await this.#floor(task, to - 1);
      if (extent === undefined || endOf(extent) <= start) return start;
      to = Math.min(to, endOf(extent));
      if (!this.#afford(handle)) return to;
      const from = Math.max(start, extent.logical);
      this.#forget();
      await this.#replace(
        task,
        handle,
        [extent],
        [part(extent, extent.logical, from), part(extent, to, endOf(extent))],
      );
      await freed(part(extent, from, to));
      to = from;
      if (to > start) await task.sched.yield();
    }
    return start;
  }

  /**
   * Say of mapped blocks from `start` to `end` exclusive whether they are written, for as long as the handle has credits; holes stay holes. Takes
   * i_data_sem exclusively.
   * @param zero for blocks that become written: where the tree lacks a node, more blocks of their extent are zeroed, and become written as well
   * @returns where it has come to: `end` when all is done
   * @throws ENOSPC where that takes another node; EIO; what `zero` throws
   */
  async mark(task: Task, handle: Handle, start: number, end: number, unwritten: boolean, zero?: Zero): Promise<number> {
    using _sem = await this.#sem.write(task, this.#subclass);
    for (let from = start; from < end; ) {
      const extent = await this.#next(task, from);
      if (extent === undefined || extent.logical >= end) return end;
      const first = Math.max(from, extent.logical);
      const last = Math.min(end, endOf(extent));
      from = last;
      if (extent.unwritten === unwritten) continue;
      if (!this.#afford(handle)) return first;
      // From now on it is found in the tree only, by who gets the lock: also while something is zeroed.
      this.#forget();
      const before = extent.logical === 0 ? undefined : await this.#floor(task, extent.logical - 1);
      const after = await this.#after(task, extent.logical);
      const change = (low: number, high: number): Awaitable<void> =>
        this.#replace(
          task,
          handle,
          [before, extent, after],
          [
            before,
            part(extent, extent.logical, low),
            { ...part(extent, low, high), unwritten },
            part(extent, high, endOf(extent)),
            after,
          ],
        );
      try {
        await change(first, last);
      } catch (error) {
        if (zero === undefined || !isErrno(error, 'ENOSPC')) throw error;
        await zeroout(extent, first, last, change, zero);
      }
      if (from < end) await task.sched.yield();
    }
    return end;
  }

  /**
   * Move what is mapped from `from` to `to` exclusive on by `by` blocks, back where that is negative; the room must be free. For as long as the handle
   * has credits. Takes i_data_sem exclusively.
   * @returns what remains to be moved, by another call, or undefined when all is done
   * @throws EFBIG where a block would get too high a number; ENOSPC, EIO
   */
  async shift(task: Task, handle: Handle, from: number, to: number, by: number): Promise<ShiftRest | undefined> {
    using _sem = await this.#sem.write(task, this.#subclass);
    let [low, high] = [from, to];
    const top = await this.#floor(task, high - 1);
    if (top !== undefined && endOf(top) > low && Math.min(high, endOf(top)) + by > MAX_LOGICAL) throw errno('EFBIG');
    while (low < high) {
      const extent = by < 0 ? await this.#next(task, low) : await this.#floor(task, high - 1);
      if (extent === undefined || endOf(extent) <= low || extent.logical >= high) return undefined;
      if (!this.#afford(handle)) return { from: low, to: high };
      const first = Math.max(low, extent.logical);
      const end = Math.min(high, endOf(extent));
      const moved = { ...part(extent, first, end), logical: first + by };
      const before = moved.logical === 0 ? undefined : await this.#floor(task, moved.logical - 1);
      const after = await this.#after(task, moved.logical);
      this.#forget();
      const stays = [part(extent, extent.logical, first), part(extent, end, endOf(extent))];
      // The neighbours of its new place: its own rest may be one of them.
      const others = [before, after].filter((other) => other !== undefined && other.logical !== extent.logical);
      const old = [...others, extent];
      const fresh = [...others, moved, ...stays].sort((a, b) => (a?.logical ?? 0) - (b?.logical ?? 0));
      await this.#replace(task, handle, old, fresh);
      if (by < 0) low = end;
      else high = first;
      await task.sched.yield();
    }
    return undefined;
  }

  /** Something is about to change: what was found counts no longer. */
  #forget(): void {
    this.#last = undefined;
    this.#holeEnd = 0;
  }

  #afford(handle: Handle): boolean {
    return handle.credits >= this.credits || handle.extend(this.credits);
  }

  #read<T>(task: Task, body: () => Awaitable<T>): Awaitable<T> {
    return andThen(this.#sem.read(task, this.#subclass), (held) => withCleanup(body, () => held.release()));
  }

  #write<T>(task: Task, body: () => Awaitable<T>): Awaitable<T> {
    return andThen(this.#sem.write(task, this.#subclass), (held) => {
      this.#forget();
      return withCleanup(body, () => held.release());
    });
  }

  /** The last extent that does not begin behind `block`. */
  #floor(task: Task, block: number): Awaitable<Extent | undefined> {
    return this.tree.floor(task, block, decodeExtent);
  }

  /** The first extent that begins behind `block`. */
  #after(task: Task, block: number): Awaitable<Extent | undefined> {
    let found: Extent | undefined;
    const walked = this.tree.walk(task, block + 1, (data, at) => {
      found = decodeExtent(data, at);
      return false;
    });
    return andThen(walked, () => found);
  }

  #next(task: Task, block: number): Awaitable<Extent | undefined> {
    return andThen(this.#floor(task, block), ExtentTree.#orAfter, task, this, block);
  }

  static #orAfter(
    extent: Extent | undefined,
    task: Task,
    tree: ExtentTree,
    block: number,
  ): Awaitable<Extent | undefined> {
    return extent !== undefined && endOf(extent) > block ? extent : tree.#after(task, block);
  }

  /**
   * Put the extents of one list in the place of those of another. Records that are new come first, because only they can lack space: then nothing has
   * changed. The beginning of an extent can move without that.
   */
  #replace(
    task: Task,
    handle: Handle,
    from: readonly (Extent | undefined)[],
    to: readonly (Extent | undefined)[],
  ): Awaitable<void> {
    const old = new Map<number, Extent>();
    for (const extent of from) if (extent !== undefined) old.set(extent.logical, extent);
    const added: Extent[] = [];
    const steps: (() => Awaitable<unknown>)[] = [];
    for (const extent of merged(to)) {
      const known = old.get(extent.logical);
      old.delete(extent.logical);
      if (known === undefined) added.push(extent);
      else if (!same(known, extent)) {
        steps.push(() =>
          update(this.tree, task, handle, extent.logical, (data, at) => {
            encodeExtent(data, at, extent);
          }),
        );
      }
    }
    const finish = (moved?: number): Awaitable<void> => {
      if (moved !== undefined) old.delete(moved);
      for (const logical of old.keys()) steps.push(() => remove(this.tree, task, handle, logical));
      return inTurn(...steps);
    };
    const add = (): Awaitable<void> => andThen(this.#add(task, handle, added), () => finish());
    const [fresh] = added;
    const [gone] = old.keys();
    if (fresh === undefined || added.length > 1 || gone === undefined) return add();
    return andThen(move(this.tree, task, handle, gone, fresh.logical, recordOf(fresh)), (moved) =>
      moved ? finish(gone) : add(),
    );
  }

  #add(task: Task, handle: Handle, extents: readonly Extent[]): Awaitable<void> {
    const [first, second] = extents;
    if (first === undefined) return undefined;
    const one = this.#put(task, handle, first);
    if (second === undefined) return one;
    return this.#addMore(task, handle, first, extents.slice(1), one);
  }

  async #addMore(
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
        await this.#put(task, handle, extent);
        done.push(extent);
      }
    } catch (error) {
      for (const extent of done) await remove(this.tree, task, handle, extent.logical);
      throw error;
    }
  }

  #put(task: Task, handle: Handle, extent: Extent): Awaitable<void> {
    return put(this.tree, task, handle, extent.logical, recordOf(extent));
  }
}

function recordOf(extent: Extent): Buffer {
  const record = Buffer.allocUnsafe(EXTENT_SIZE);
  encodeExtent(record, 0, extent);
  return record;
}
