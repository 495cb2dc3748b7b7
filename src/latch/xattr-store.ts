/**
 * Where an inode's extended attributes are: one block that the inode names, which is the root of a B+tree by the hash of the name, so that one
 * attribute costs a block and many are still found fast.
 *
 *     0  4  CRC-32 of bytes 4 to 4095, seeded as a tree's blocks are    16  4  the number of this block
 *     4  4  magic "LXAT"                                                20  4  bytes of all names, a NUL behind each counted
 *     8  8  inode                                                       24  .. body of the root (format/tree.ts)
 *
 * A record (a key of 8 bytes first, made as that of a directory's entry):
 *
 *     0  8  key                    10  2  runs of blocks of the value; 0 for a value in the record
 *     8  1  length of the name     12  4  length of the value
 *     9  1  reserved, 0            16  n  name, with its prefix
 *
 * and behind the name the value itself, up to 1024 bytes; or the CRC-32 of the value, seeded likewise (4 bytes), and where it is: for each run its first
 * block and its blocks (4 bytes each). The last block is filled up with zeroes. All blocks are metadata: they go through the journal.
 */

import { crc32 } from 'node:zlib';
import type { BlockDevice } from '../block/block-device.js';
import { brelse, sb_bread, sb_find_get_block, sb_getblk } from '../block/buffer-cache.js';
import { BLOCK_SIZE, type BufferHead } from '../block/buffer-head.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { type Errno, errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { putKey, type TreeFormat } from './btree/node.js';
import { put } from './btree/put.js';
import { remove } from './btree/remove.js';
import { BTree, type TreeHost } from './btree/tree.js';
import { emptyRoot, KIND_XATTR, NODE_HEAD } from './format/tree.js';
import type { Handle } from './journal/types.js';
import { KEYS_OF_HASH } from './names.js';

const MAGIC = 0x5441584c;
const NAMES = 20;
const NAME_LENGTH = 8;
const RUNS = 10;
const VALUE_LENGTH = 12;
const NAME = 16;
const RUN = 8;
const NAME_MAX = 255;
/** Longer values have blocks of their own. */
export const INLINE_VALUE = 1024;
/** XATTR_SIZE_MAX and XATTR_LIST_MAX. */
export const VALUE_MAX = 65536;
export const LIST_MAX = 65536;
/** Blocks of the longest value. */
export const VALUE_BLOCKS = VALUE_MAX / BLOCK_SIZE;

function valueBytes(data: Buffer, at: number): number {
  const runs = data.readUInt16LE(at + RUNS);
  return runs === 0 ? data.readUInt32LE(at + VALUE_LENGTH) : 4 + runs * RUN;
}

export const xattr_format: TreeFormat = {
  name: 'extended attributes',
  kind: KIND_XATTR,
  keyBytes: 8,
  minRecord: NAME,
  maxRecord: NAME + NAME_MAX + INLINE_VALUE,
  sizeOf: (data, at) => NAME + (data[at + NAME_LENGTH] ?? 0) + valueBytes(data, at),
};

export interface Run {
  readonly start: number;
  readonly length: number;
}

/** An attribute as its record has it. */
export interface XattrRecord {
  readonly key: number;
  readonly name: string;
  /** Bytes of the value. */
  readonly length: number;
  /** The value, where it is in the record. */
  readonly value: Buffer | undefined;
  readonly checksum: number;
  readonly runs: readonly Run[];
}

export function xattrAt(data: Buffer, at: number, key: number): XattrRecord {
  const end = at + NAME + (data[at + NAME_LENGTH] ?? 0);
  const name = data.toString('latin1', at + NAME, end);
  const length = data.readUInt32LE(at + VALUE_LENGTH);
  const count = data.readUInt16LE(at + RUNS);
  if (count === 0) {
    return { key, name, length, value: Buffer.from(data.subarray(end, end + length)), checksum: 0, runs: [] };
  }
  const runs: Run[] = [];
  for (let i = 0; i < count; i++) {
    const run = end + 4 + i * RUN;
    runs.push({ start: data.readUInt32LE(run), length: data.readUInt32LE(run + 4) });
  }
  return { key, name, length, value: undefined, checksum: data.readUInt32LE(end), runs };
}

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
    const { b_data: data } = this.#bh;
    data.writeUInt32LE(crc32(data.subarray(4), this.seed), 0);
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
    const names = this.#bh.b_data.readUInt32LE(NAMES) + (old === undefined ? name.length + 1 : 0);
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
    await this.#setNames(task, handle, this.#bh.b_data.readUInt32LE(NAMES) - old.name.length - 1);
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
    this.#bh.b_data.writeUInt32LE(bytes, NAMES);
    this.root_changed(task, handle);
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
          await this.#writeBlock(task, handle, block, value.subarray(done, done + BLOCK_SIZE));
        }
      }
      return runs;
    } catch (error) {
      await this.#freeRuns(task, handle, runs);
      throw error;
    }
  }

  async #writeBlock(task: Task, handle: Handle, block: number, bytes: Buffer): Promise<void> {
    const bh = sb_getblk(task, this.bdev, block);
    try {
      await handle.get_write_access(task, bh);
      bytes.copy(bh.b_data);
      bh.b_data.fill(0, bytes.length);
      bh.uptodate = true;
      handle.dirty_metadata(task, bh);
    } finally {
      brelse(bh);
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

/** The record of an attribute. @param runs where its value is; none for one that is in the record */
export function encodeXattr(key: number, name: string, value: Buffer, runs: readonly Run[], seed: number): Buffer {
  const head = Buffer.alloc(NAME);
  putKey(xattr_format, head, 0, key);
  head[NAME_LENGTH] = name.length;
  head.writeUInt16LE(runs.length, RUNS);
  head.writeUInt32LE(value.length, VALUE_LENGTH);
  if (runs.length === 0) return Buffer.concat([head, Buffer.from(name, 'latin1'), value]);
  const places = Buffer.alloc(4 + runs.length * RUN);
  places.writeUInt32LE(crc32(value, seed), 0);
  for (const [i, { start, length }] of runs.entries()) {
    places.writeUInt32LE(start, 4 + i * RUN);
    places.writeUInt32LE(length, 8 + i * RUN);
  }
  return Buffer.concat([head, Buffer.from(name, 'latin1'), places]);
}

/** Make a block the root of an inode's attributes, without any yet. */
export function initXattrRoot(data: Buffer, ino: number, block: number): void {
  data.fill(0);
  data.writeUInt32LE(MAGIC, 4);
  data.writeUIntLE(ino, 8, 6);
  data.writeUInt32LE(block, 16);
}

/** Say how many bytes the names have, and put the checksum in. */
export function sealXattrRoot(data: Buffer, seed: number, names: number): void {
  data.writeUInt32LE(names, NAMES);
  data.writeUInt32LE(crc32(data.subarray(4), seed), 0);
}

function damaged(space: XattrSpace, problem: string): Errno {
  return errno('EIO', `${xattr_format.name} of inode ${space.ino}: ${problem}`);
}

/** What is wrong with the block that an inode names, its tree excepted. */
export function rootProblem(space: Pick<XattrSpace, 'ino' | 'seed'>, bh: BufferHead): string | undefined {
  const { b_data: data } = bh;
  if (data.readUInt32LE(4) !== MAGIC) return 'no extended attributes';
  if (data.readUInt32LE(0) !== crc32(data.subarray(4), space.seed)) return 'the checksum is wrong';
  if (data.readUIntLE(8, 6) !== space.ino) return `attributes of inode ${data.readUIntLE(8, 6)}`;
  if (data.readUInt32LE(16) !== bh.b_blocknr) return `attributes of block ${data.readUInt32LE(16)}`;
  return undefined;
}

/** Whether a block says that it is the root of an inode's attributes, whatever else is wrong with it. */
export function isRootOf(space: Pick<XattrSpace, 'ino'>, bh: BufferHead): boolean {
  const { b_data: data } = bh;
  return (
    data.readUInt32LE(4) === MAGIC && data.readUIntLE(8, 6) === space.ino && data.readUInt32LE(16) === bh.b_blocknr
  );
}

/** The bytes of all names as the root says them. */
export function namesOf(bh: BufferHead): number {
  return bh.b_data.readUInt32LE(NAMES);
}
