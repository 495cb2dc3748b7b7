/** The extended attributes of an inode: found, read, set and removed in the tree that xattr-record.ts describes. */
import { crc32 } from 'node:zlib';
import type { BlockDevice } from '../block/block-device.js';
import { brelse } from '../block/buffer.js';
import { sb_bread, sb_find_get_block, sb_getblk } from '../block/buffer-cache.js';
import { BLOCK_SIZE, type BufferHead } from '../block/buffer-head.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { type Errno, errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { put } from './btree/put.js';
import { remove } from './btree/remove.js';
import { BTree, type TreeHost } from './btree/tree.js';
import { emptyRoot, KIND_XATTR, NODE_HEAD } from './format/tree.js';
import type { Handle } from './journal/types.js';
import { KEYS_OF_HASH } from './names.js';
import { write_new_block } from './new-block.js';
import {
  encodeXattr,
  INLINE_VALUE,
  initXattrRoot,
  LIST_MAX,
  namesOf,
  type Run,
  rootProblem,
  sealXattrRoot,
  type XattrRecord,
  xattr_format,
  xattrAt,
} from './xattr-record.js';

/** What a store needs of the filesystem that it is in: blocks, which count as the inode's. */
export interface XattrSpace {
  readonly bdev: BlockDevice;
  readonly ino: number;
  readonly seed: number;
  /** As of TreeHost. */
  readonly unchecked: boolean;
  /** Bytes of a body in a block. */
  readonly bodyBytes: number;
  /** The lowest key of a name. */
  keyOf(name: string): number;
  /** Take up to `want` blocks in a row. @throws ENOSPC */
  allocate(task: Task, handle: Handle, want: number, goal: number | undefined): Awaitable<Run>;
  free(task: Task, handle: Handle, run: Run): Awaitable<void>;
}

/** The attributes of one inode, open: close it again. The caller has xattr_sem. */
export class XattrStore implements TreeHost {
  readonly bdev: BlockDevice;
  readonly ino: number;
  readonly seed: number;
  readonly unchecked: boolean;
  readonly bodyBytes: number;
  readonly tree: BTree;
  readonly #space: XattrSpace;
  readonly #bh: BufferHead;

  private constructor(space: XattrSpace, bh: BufferHead) {
    this.#space = space;
    this.#bh = bh;
    this.bdev = space.bdev;
    this.ino = space.ino;
    this.seed = space.seed;
    this.unchecked = space.unchecked;
    this.bodyBytes = space.bodyBytes;
    this.tree = new BTree(this, xattr_format, bh.b_data.subarray(NODE_HEAD, NODE_HEAD + space.bodyBytes));
  }

  /** The attributes in `block`. @throws EIO where they are damaged */
  static async open(task: Task, space: XattrSpace, block: number): Promise<XattrStore> {
    const bh = await sb_bread(task, space.bdev, block);
    try {
      const problem = bh.verified ? undefined : rootProblem(space, bh);
      if (problem !== undefined) throw damaged(space, `block ${block}: ${problem}`);
      bh.verified = true;
      return new XattrStore(space, bh);
    } catch (error) {
      brelse(bh);
      throw error;
    }
  }

  /** An empty store in a block of its own. @throws ENOSPC */
  static async create(task: Task, handle: Handle, space: XattrSpace): Promise<XattrStore> {
    const run = await space.allocate(task, handle, 1, undefined);
    let bh: BufferHead | undefined;
    try {
      bh = sb_getblk(task, space.bdev, run.start);
      await handle.get_write_access(task, bh);
      initXattrRoot(bh.b_data, space.ino, run.start);
      emptyRoot(bh.b_data.subarray(NODE_HEAD, NODE_HEAD + space.bodyBytes), KIND_XATTR);
      bh.uptodate = true;
      bh.verified = true;
      const store = new XattrStore(space, bh);
      store.root_changed(task, handle);
      return store;
    } catch (error) {
      if (bh !== undefined) brelse(bh);
      await space.free(task, handle, run);
      throw error;
    }
  }

  get block(): number {
    return this.#bh.b_blocknr;
  }

  close(): void {
    brelse(this.#bh);
  }

  /** Give the block of an empty store back, and close it. */
  async destroy(task: Task, handle: Handle): Promise<void> {
    const { block } = this;
    handle.forget(task, this.#bh);
    await this.#space.free(task, handle, { start: block, length: 1 });
  }

  async allocate(task: Task, handle: Handle, goal: number | undefined): Promise<number> {
    return (await this.#space.allocate(task, handle, 1, goal ?? this.block + 1)).start;
  }

  free(task: Task, handle: Handle, block: number): Awaitable<void> {
    return this.#space.free(task, handle, { start: block, length: 1 });
  }

  root_access(task: Task, handle: Handle): Awaitable<void> {
    return handle.get_write_access(task, this.#bh);
  }

  root_changed(task: Task, handle: Handle): void {
    sealXattrRoot(this.#bh.b_data, this.seed);
    handle.dirty_metadata(task, this.#bh);
  }

  /** The attribute of that name. @param taken the numbers that names of its hash have */
  find(task: Task, name: string, taken?: Set<number>): Awaitable<XattrRecord | undefined> {
    const first = this.#space.keyOf(name);
    let found: XattrRecord | undefined;
    const walked = this.tree.walk(task, first, (data, at, key) => {
      if (key >= first + KEYS_OF_HASH) return false;
      const record = xattrAt(data, at, key);
      if (record.name === name) found = record;
      else taken?.add(key - first);
      return found === undefined;
    });
    return andThen(walked, () => found);
  }

  /** The names of all attributes. */
  async names(task: Task): Promise<string[]> {
    const names: string[] = [];
    await this.tree.walk(task, 0, (data, at, key) => names.push(xattrAt(data, at, key).name) > 0);
    return names;
  }

  /** The value of an attribute. @throws EIO also where its checksum is wrong */
  async read(task: Task, record: XattrRecord): Promise<Buffer> {
    if (record.value !== undefined) return record.value;
    const pieces: Buffer[] = [];
    for (const { start, length } of record.runs) {
      for (let block = start; block < start + length; block++) {
        const bh = await sb_bread(task, this.bdev, block);
        pieces.push(Buffer.from(bh.b_data));
        brelse(bh);
      }
    }
    const value = Buffer.concat(pieces).subarray(0, record.length);
    if (value.length !== record.length || crc32(value, this.seed) !== record.checksum) {
      throw damaged(this.#space, `the value of ${record.name} is damaged`);
    }
    return value;
  }

  /**
   * Set an attribute.
   * @param old what it was, if it was
   * @throws ENOSPC, also where the names would not fit into a list any more: then nothing has changed
   */
  async set(task: Task, handle: Handle, name: string, value: Buffer, old: XattrRecord | undefined): Promise<void> {
    const names = namesOf(this.#bh) + (old === undefined ? name.length + 1 : 0);
    if (names > LIST_MAX) throw errno('ENOSPC', 'too many extended attributes');
    const runs = value.length > INLINE_VALUE ? await this.#write(task, handle, value) : [];
    try {
      const key = old?.key ?? (await this.#freeKey(task, name));
      await put(this.tree, task, handle, key, encodeXattr(key, name, value, runs, this.seed));
    } catch (error) {
      await this.#freeRuns(task, handle, runs);
      throw error;
    }
    await this.#setNames(task, handle, names);
    if (old !== undefined) await this.#freeRuns(task, handle, old.runs);
  }

  /** Remove an attribute. */
  async remove(task: Task, handle: Handle, old: XattrRecord): Promise<void> {
    await remove(this.tree, task, handle, old.key);
    await this.#setNames(task, handle, namesOf(this.#bh) - old.name.length - 1);
    await this.#freeRuns(task, handle, old.runs);
  }

  /** Remove attributes for as long as the handle has credits. @returns whether none is left */
  async removeAll(task: Task, handle: Handle): Promise<boolean> {
    for (;;) {
      let first: XattrRecord | undefined;
      await this.tree.walk(task, 0, (data, at, key) => {
        first = xattrAt(data, at, key);
        return false;
      });
      if (first === undefined) return true;
      const need = this.tree.credits + 2 * first.runs.length + 2;
      if (handle.credits < need && !handle.extend(need)) return false;
      await this.remove(task, handle, first);
    }
  }

  async #setNames(task: Task, handle: Handle, bytes: number): Promise<void> {
    await this.root_access(task, handle);
    sealXattrRoot(this.#bh.b_data, this.seed, bytes);
    handle.dirty_metadata(task, this.#bh);
  }

  async #freeKey(task: Task, name: string): Promise<number> {
    const taken = new Set<number>();
    await this.find(task, name, taken);
    let number = 0;
    while (taken.has(number)) number++;
    if (number >= KEYS_OF_HASH) throw errno('ENOSPC', 'too many names of one hash');
    return this.#space.keyOf(name) + number;
  }

  /** Put a value into blocks of its own. */
  async #write(task: Task, handle: Handle, value: Buffer): Promise<Run[]> {
    const runs: Run[] = [];
    try {
      for (let done = 0; done < value.length; ) {
        const left = Math.ceil((value.length - done) / BLOCK_SIZE);
        const run = await this.#space.allocate(task, handle, left, this.block + 1);
        runs.push(run);
        for (let block = run.start; block < run.start + run.length; block++, done += BLOCK_SIZE) {
          await write_new_block(task, handle, this.bdev, block, value.subarray(done, done + BLOCK_SIZE));
        }
      }
      return runs;
    } catch (error) {
      await this.#freeRuns(task, handle, runs);
      throw error;
    }
  }

  async #freeRuns(task: Task, handle: Handle, runs: readonly Run[]): Promise<void> {
    for (const run of runs) {
      for (let block = run.start; block < run.start + run.length; block++) {
        const bh = sb_find_get_block(this.bdev, block);
        if (bh === undefined) handle.revoke(task, block);
        else handle.forget(task, bh);
      }
      await this.#space.free(task, handle, run);
    }
  }
}

function damaged(space: XattrSpace, problem: string): Errno {
  return errno('EIO', `${xattr_format.name} of inode ${space.ino}: ${problem}`);
}
