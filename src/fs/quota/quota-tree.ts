/**
 * The tree in a quota file: a radix tree of four levels over the bytes of an id, whose leaves say in which block the quota of the id lies (fs/quota/quota_tree.c; the format
 * of the kernel, which quota tools read). The file consists of blocks of 1024 bytes:
 *
 *     block 0         header and info (quota-v2.ts)
 *     block 1         the root of the tree
 *     of the tree     256 numbers of blocks (4 bytes each), 0 for none
 *     of quotas       0 4 next block in its list   8 2 quotas in it   16 14*72 quotas, all zeroes where there is none
 *                     4 4 previous
 *
 * Blocks that nobody needs are in a list, and so are blocks of quotas that have room; the info says where both begin. dqio_sem is held: exclusively by who changes
 * something.
 */
import type { Awaitable } from '../../sched/awaitable.js';
import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';

const BLOCK = 1024;
const LEVELS = 4;
const ROOT = 1;
const HEAD = 16;
const PREVIOUS = 4;
const ENTRIES = 8;
/** Bytes of a quota in the file. */
export const ENTRY = 72;
const PER_BLOCK = Math.floor((BLOCK - HEAD) / ENTRY);

/** What the info says of the tree. */
export interface TreeInfo {
  /** Blocks of the file. */
  blocks: number;
  /** Where the list of blocks that nobody needs begins; 0: there are none. */
  freeBlock: number;
  /** Where the list of blocks of quotas with room begins. */
  freeEntry: number;
}

export const EMPTY_TREE: TreeInfo = { blocks: ROOT + 1, freeBlock: 0, freeEntry: 0 };

/** The file. */
export interface TreeFile {
  read(task: Task, length: number, offset: number): Awaitable<Buffer>;
  write(task: Task, bytes: Buffer, offset: number): Awaitable<unknown>;
}

/** The byte of an id that a level of the tree goes by. */
function indexOf(id: number, level: number): number {
  return (id >>> (8 * (LEVELS - 1 - level))) & 0xff;
}

function isZero(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0);
}

/** In which block a place lies. @param offset bytes */
function blockOf(offset: number): number {
  return Math.floor(offset / BLOCK);
}

export class QuotaTree {
  readonly #file: TreeFile;
  readonly #info: TreeInfo;
  readonly #changed: () => void;

  /** @param changed called when `info` has changed */
  constructor(file: TreeFile, info: TreeInfo, changed: () => void) {
    this.#file = file;
    this.#info = info;
    this.#changed = changed;
  }

  async #read(task: Task, block: number): Promise<Buffer> {
    if (block < ROOT || block >= this.#info.blocks) throw errno('EIO', `the quota file names block ${block}`);
    const bytes = await this.#file.read(task, BLOCK, block * BLOCK);
    return bytes.length === BLOCK ? bytes : Buffer.concat([bytes], BLOCK);
  }

  async #write(task: Task, block: number, bytes: Buffer): Promise<void> {
    await this.#file.write(task, bytes, block * BLOCK);
  }

  /** Where the quota of an id is, bytes; 0: nowhere. @throws EIO where the tree is damaged */
  async find(task: Task, id: number): Promise<number> {
    let block = ROOT;
    for (let level = 0; level < LEVELS; level++) {
      block = (await this.#read(task, block)).readUInt32LE(4 * indexOf(id, level));
      if (block === 0) return 0;
    }
    const bytes = await this.#read(task, block);
    for (let i = 0; i < PER_BLOCK; i++) {
      const at = HEAD + i * ENTRY;
      if (bytes.readUInt32LE(at) === id && !isZero(bytes.subarray(at, at + ENTRY))) return block * BLOCK + at;
    }
    throw errno('EIO', `the quota of id ${id} is not where the tree says`);
  }

  /**
   * Make a place for the quota of an id that has none. The caller writes there before it makes another.
   * @returns where, bytes
   * @throws EIO where the tree is damaged; what the file throws where it cannot grow: no block is lost then
   */
  insert(task: Task, id: number): Promise<number> {
    return this.#insert(task, id, ROOT, 0);
  }

  async #insert(task: Task, id: number, block: number, level: number): Promise<number> {
    const bytes = await this.#read(task, block);
    const at = 4 * indexOf(id, level);
    const next = bytes.readUInt32LE(at);
    if (level < LEVELS - 1 && next !== 0) return this.#insert(task, id, next, level + 1);
    if (next !== 0) throw errno('EIO', `the quota of id ${id} is in the tree already`);
    let child: number;
    let place: number;
    if (level === LEVELS - 1) {
      place = await this.#freeEntry(task);
      child = blockOf(place);
    } else {
      child = await this.#freeBlock(task);
      try {
        place = await this.#insert(task, id, child, level + 1);
      } catch (error) {
        await this.#giveBlock(task, child);
        throw error;
      }
    }
    bytes.writeUInt32LE(child, at);
    await this.#write(task, block, bytes);
    return place;
  }

  /** A block that nobody needs, or a new one at the end, all zeroes. It is written before it counts as taken (get_free_dqblk): there may be no room for it. */
  async #freeBlock(task: Task): Promise<number> {
    const info = this.#info;
    const block = info.freeBlock === 0 ? info.blocks : info.freeBlock;
    const next = info.freeBlock === 0 ? 0 : (await this.#read(task, block)).readUInt32LE(0);
    await this.#write(task, block, Buffer.alloc(BLOCK));
    if (block === info.blocks) info.blocks++;
    info.freeBlock = next;
    this.#changed();
    return block;
  }

  /** Nobody needs a block any more. */
  async #giveBlock(task: Task, block: number): Promise<void> {
    const bytes = Buffer.alloc(BLOCK);
    bytes.writeUInt32LE(this.#info.freeBlock, 0);
    await this.#write(task, block, bytes);
    this.#info.freeBlock = block;
    this.#changed();
  }

  /** A place in a block of quotas. */
  async #freeEntry(task: Task): Promise<number> {
    const info = this.#info;
    let block = info.freeEntry;
    let bytes: Buffer;
    if (block === 0) {
      block = await this.#freeBlock(task);
      bytes = Buffer.alloc(BLOCK);
      info.freeEntry = block;
      this.#changed();
    } else bytes = await this.#read(task, block);
    const entries = bytes.readUInt16LE(ENTRIES) + 1;
    let at = HEAD;
    while (at < HEAD + PER_BLOCK * ENTRY && !isZero(bytes.subarray(at, at + ENTRY))) at += ENTRY;
    if (entries > PER_BLOCK || at >= HEAD + PER_BLOCK * ENTRY) {
      throw errno('EIO', `block ${block} of the quota file is full, and is to have room`);
    }
    bytes.writeUInt16LE(entries, ENTRIES);
    if (entries === PER_BLOCK) await this.#leaveList(task, bytes);
    await this.#write(task, block, bytes);
    return block * BLOCK + at;
  }

  /** Take a block out of the list of those with room; the caller writes it. */
  async #leaveList(task: Task, bytes: Buffer): Promise<void> {
    const next = bytes.readUInt32LE(0);
    const previous = bytes.readUInt32LE(PREVIOUS);
    if (next !== 0) await this.#patch(task, next, previous, PREVIOUS);
    if (previous !== 0) await this.#patch(task, previous, next, 0);
    else {
      this.#info.freeEntry = next;
      this.#changed();
    }
    bytes.fill(0, 0, ENTRIES);
  }

  async #patch(task: Task, block: number, value: number, at: number): Promise<void> {
    const bytes = await this.#read(task, block);
    bytes.writeUInt32LE(value, at);
    await this.#write(task, block, bytes);
  }

  /** Take the quota of an id out, which lies at `place`. */
  async remove(task: Task, id: number, place: number): Promise<void> {
    await this.#remove(task, id, ROOT, 0, place);
  }

  /** @returns whether the block is not needed any more, and was given back */
  async #remove(task: Task, id: number, block: number, level: number, place: number): Promise<boolean> {
    const bytes = await this.#read(task, block);
    const at = 4 * indexOf(id, level);
    const next = bytes.readUInt32LE(at);
    if (next === 0) throw errno('EIO', `the quota of id ${id} is not in the tree`);
    if (level === LEVELS - 1) await this.#giveEntry(task, next, place);
    else if (!(await this.#remove(task, id, next, level + 1, place))) return false;
    bytes.writeUInt32LE(0, at);
    if (block !== ROOT && isZero(bytes)) {
      await this.#giveBlock(task, block);
      return true;
    }
    await this.#write(task, block, bytes);
    return false;
  }

  async #giveEntry(task: Task, block: number, place: number): Promise<void> {
    if (blockOf(place) !== block) throw errno('EIO', `a quota lies in block ${blockOf(place)}, the tree says ${block}`);
    const bytes = await this.#read(task, block);
    const entries = bytes.readUInt16LE(ENTRIES) - 1;
    bytes.writeUInt16LE(Math.max(0, entries), ENTRIES);
    bytes.fill(0, place % BLOCK, (place % BLOCK) + ENTRY);
    if (entries <= 0) {
      // The last one was alone: the block was in the list, because it had room.
      await this.#leaveList(task, bytes);
      await this.#giveBlock(task, block);
      return;
    }
    if (entries === PER_BLOCK - 1) {
      const { freeEntry } = this.#info;
      bytes.writeUInt32LE(freeEntry, 0);
      bytes.writeUInt32LE(0, PREVIOUS);
      if (freeEntry !== 0) await this.#patch(task, freeEntry, block, PREVIOUS);
      this.#info.freeEntry = block;
      this.#changed();
    }
    await this.#write(task, block, bytes);
  }

  /** The first id in the tree that is not below `id`; undefined where there is none. */
  next(task: Task, id: number): Promise<number | undefined> {
    return this.#next(task, id, ROOT, 0, 0);
  }

  async #next(task: Task, id: number, block: number, level: number, above: number): Promise<number | undefined> {
    const bytes = await this.#read(task, block);
    for (let index = 0; index < 256; index++) {
      const child = bytes.readUInt32LE(4 * index);
      const first = above * 256 + index;
      const last = (first + 1) * 256 ** (LEVELS - 1 - level) - 1;
      if (child === 0 || last < id) continue;
      if (level === LEVELS - 1) return first;
      const found = await this.#next(task, id, child, level + 1, first);
      if (found !== undefined) return found;
    }
    return undefined;
  }
}
