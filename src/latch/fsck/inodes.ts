/** Finding the blocks of inodes, and checking every inode by itself (pass 1 of e2fsck): its checksum, its fields, its blocks. */

import { S_IFDIR, S_IFLNK, S_IFREG } from '../../uapi/stat.js';
import { firstSet, isSet } from '../bitmap.js';
import { Node } from '../btree/node.js';
import { dir_format } from '../dir.js';
import { endOf } from '../extent-list.js';
import { extent_format } from '../extents.js';
import { AREA_SIZE, areaOf, CHECKSUM, decodeInode, encodeInode, inodeIsSealed, inodeSeed } from '../format/inode.js';
import { GROUP_BLOCKS, GROUP_HEAD, INODE_SIZE, INODES_PER_BLOCK, ROOT_BLOCK, ROOT_INO } from '../format/layout.js';
import type { FsckContext } from './context.js';
import { checkFields, checkInlineLink, checkLongLink, checkSizes, isType } from './fields.js';
import type { ReadGroup } from './groups.js';
import { findLostNodes } from './lost-nodes.js';
import { newSeen, type Seen, typeOf } from './seen.js';
import { checkAttributes, checkDirTree, scanExtents } from './trees.js';

/** What a block looks like that is said to hold inodes. */
type Look = 'inodes' | 'empty' | 'other';

/** Read all blocks of inodes, and check what is in them. */
export async function checkInodes(context: FsckContext, groups: readonly ReadGroup[]): Promise<void> {
  await new InodeScan(context, groups).run();
  if (!context.inodes.has(ROOT_INO)) context.problem(`inode ${ROOT_INO}`, 'the root is missing');
}

class InodeScan {
  readonly #context: FsckContext;
  readonly #groups: readonly ReadGroup[];
  /** Blocks whose inodes are still to be checked. */
  #queue: number[] = [];
  /** Blocks of inodes in which none is in use. */
  readonly #empty = new Set<number>();
  /** Nothing but what is in them says that they are inodes. */
  #doubtful = false;

  constructor(context: FsckContext, groups: readonly ReadGroup[]) {
    this.#context = context;
    this.#groups = groups;
  }

  async run(): Promise<void> {
    await this.#adopt(ROOT_BLOCK, true);
    for (const group of this.#groups) {
      const next = (from: number): number | undefined => firstSet(group.inodes, from, group.size);
      for (let at = next(0); at !== undefined; at = next(at + 1)) await this.#marked(group, at);
    }
    await this.#drain();
    const named: number[] = [];
    await findLostNodes(this.#context, this.#groups, (ino) => named.push(ino));
    for (const ino of named) await this.#named(ino);
    await this.#drain();
    for (const seen of this.#context.inodes.values()) if (seen.empty) await this.#emptyFile(seen);
    this.#doubtful = true;
    for (const group of this.#groups) await this.#search(group);
    for (const block of this.#empty) this.#takeEmpty(block);
  }

  async #marked(group: ReadGroup, at: number): Promise<void> {
    const block = group.base + at;
    if (at < GROUP_HEAD) {
      this.#context.problem(`group ${group.number}`, `the inode bitmap has the head's block ${at}`);
    } else if (!this.#context.inodeBlocks.has(block) && !(await this.#adopt(block, false))) {
      this.#context.problem(`inode block ${block}`, 'holds no inodes');
    }
  }

  /** Take a block for one of inodes, if it looks like one. @returns whether it does */
  async #adopt(block: number, whatever: boolean): Promise<boolean> {
    const context = this.#context;
    const bytes = await context.read(block, `inode block ${block}`);
    const look = bytes === undefined ? 'other' : this.#look(block, bytes);
    if (look === 'other' && !whatever) return false;
    if (look === 'empty' && !whatever) {
      this.#empty.add(block);
      return true;
    }
    if (!context.claimMetadata(`inode block ${block}`, block)) return false;
    context.inodeBlocks.add(block);
    this.#queue.push(block);
    return true;
  }

  #look(block: number, bytes: Buffer): Look {
    let empty = true;
    for (let slot = 0; slot < INODES_PER_BLOCK; slot++) {
      const inode = bytes.subarray(slot * INODE_SIZE, (slot + 1) * INODE_SIZE);
      if (empty && inode.some((byte) => byte !== 0)) empty = false;
      if (inode.readUInt32LE(0) === 0) continue;
      if (this.#isSealed(block * INODES_PER_BLOCK + slot, inode) || looksSane(inode)) return 'inodes';
    }
    return empty ? 'empty' : 'other';
  }

  #isSealed(ino: number, bytes: Buffer): boolean {
    return this.#context.checked && inodeIsSealed(bytes, inodeSeed(this.#context.super.uuid, ino));
  }

  async #drain(): Promise<void> {
    while (this.#queue.length > 0) {
      const blocks = this.#queue;
      this.#queue = [];
      for (const block of blocks) await this.#block(block);
    }
  }

  async #block(block: number): Promise<void> {
    const bytes = await this.#context.read(block, `inode block ${block}`);
    if (bytes === undefined) return;
    for (let slot = 0; slot < INODES_PER_BLOCK; slot++) {
      const inode = bytes.subarray(slot * INODE_SIZE, (slot + 1) * INODE_SIZE);
      const ino = block * INODES_PER_BLOCK + slot;
      if (inode.readUInt32LE(0) !== 0) await this.#inode(ino, inode);
      else if (inode.some((byte) => byte !== 0)) {
        this.#context.problem(`inode ${ino}`, 'is free, and not filled with zeroes', 'safe');
        this.#context.cleared.add(ino);
      }
    }
  }

  async #inode(ino: number, bytes: Buffer): Promise<void> {
    const named = new Set<number>();
    const names = (other: number): void => {
      if (!this.#context.inodeBlocks.has(Math.floor(other / INODES_PER_BLOCK))) named.add(other);
    };
    await checkInode(this.#context, ino, bytes, this.#doubtful, names);
    for (const other of named) await this.#named(other);
  }

  /** A name stands for an inode: perhaps in a block that the bitmap does not know. */
  async #named(ino: number): Promise<void> {
    const context = this.#context;
    const block = Math.floor(ino / INODES_PER_BLOCK);
    if (context.inodeBlocks.has(block) || this.#empty.has(block)) return;
    const group = this.#groups[Math.floor(block / GROUP_BLOCKS)];
    if (group === undefined || block - group.base < GROUP_HEAD || block - group.base >= group.size) return;
    const bytes = await context.read(block, `inode block ${block}`);
    const slot = (ino % INODES_PER_BLOCK) * INODE_SIZE;
    if (bytes === undefined || !this.#isSealed(ino, bytes.subarray(slot, slot + INODE_SIZE))) return;
    if (await this.#adopt(block, false)) context.problem(`inode block ${block}`, 'is not in the inode bitmap');
  }

  /**
   * Blocks that nobody has though they are marked in use may be blocks of inodes that the inode bitmap has lost; all may where it is damaged. They are known
   * by what is in them.
   */
  async #search(group: ReadGroup): Promise<void> {
    const context = this.#context;
    const all = !group.inodesTrusted && !group.blocksTrusted;
    for (let at = GROUP_HEAD; at < group.size; at++) {
      const block = group.base + at;
      if ((at & 7) === 0 && !all && group.blocks[at >>> 3] === 0) {
        at += 7;
        continue;
      }
      if (context.usage.isUsed(block) || !(all || isSet(group.blocks, at))) continue;
      const bytes = await context.read(block, `inode block ${block}`);
      if (bytes === undefined || !this.#holdsSealed(block, bytes)) continue;
      context.problem(`inode block ${block}`, 'is not in the inode bitmap');
      await this.#adopt(block, true);
      await this.#drain();
    }
  }

  #holdsSealed(block: number, bytes: Buffer): boolean {
    for (let slot = 0; slot < INODES_PER_BLOCK; slot++) {
      const inode = bytes.subarray(slot * INODE_SIZE, (slot + 1) * INODE_SIZE);
      const ino = block * INODES_PER_BLOCK + slot;
      if (inode.readUInt32LE(0) !== 0 && this.#isSealed(ino, inode)) return true;
    }
    return false;
  }

  /** A file of which the inode held nothing: it is kept if leaves of its tree were found. */
  async #emptyFile(seen: Seen): Promise<void> {
    const { extents = [], ino } = seen;
    if (extents.length === 0) {
      this.#context.inodes.delete(ino);
      this.#context.cleared.add(ino);
      return;
    }
    await checkAttributes(this.#context, seen);
    const last = extents.at(-1);
    checkFields(this.#context, seen, last === undefined ? 0 : endOf(last));
  }

  /** A block of inodes in which none is: it can as well be anything else's. */
  #takeEmpty(block: number): void {
    const context = this.#context;
    const group = this.#groups[Math.floor(block / GROUP_BLOCKS)];
    const kept =
      group !== undefined &&
      !context.usage.isUsed(block) &&
      group.inodesTrusted &&
      isSet(group.blocks, block - group.base) &&
      context.claimMetadata(`inode block ${block}`, block);
    if (kept) context.inodeBlocks.add(block);
    else context.problem(`inode block ${block}`, 'holds no inodes');
  }
}

/** Whether bytes without the right checksum are an inode's all the same: random ones hardly ever pass. */
function looksSane(bytes: Buffer): boolean {
  const disk = decodeInode(bytes);
  const times = [disk.atime, disk.mtime, disk.ctime, disk.btime];
  return isType(disk.mode) && times.every(({ nsec }) => nsec < 1_000_000_000) && hasRoot(typeOf(disk), areaOf(bytes));
}

/** Whether the area is the root of a tree, where the type wants one. */
function hasRoot(type: number, area: Buffer): boolean {
  if (type !== S_IFDIR && type !== S_IFREG) return true;
  return new Node(type === S_IFDIR ? dir_format : extent_format, area, 0, area.length).problem() === undefined;
}

/** Whether there is something in bytes that mean nothing: they are lost when the inode is written. */
function holdsReserved(bytes: Buffer): boolean {
  const written = Buffer.from(bytes);
  encodeInode(written, decodeInode(bytes));
  bytes.copy(written, CHECKSUM, CHECKSUM, CHECKSUM + 4);
  return !written.equals(bytes);
}

async function checkInode(
  context: FsckContext,
  ino: number,
  bytes: Buffer,
  doubtful: boolean,
  names: (ino: number) => void,
): Promise<void> {
  const where = `inode ${ino}`;
  const sealed = !context.checked || inodeIsSealed(bytes, inodeSeed(context.super.uuid, ino));
  if (!sealed) context.problem(where, 'the checksum is wrong');
  const disk = decodeInode(bytes);
  if (!isType(disk.mode)) {
    context.problem(where, `mode ${disk.mode.toString(8)} is none`);
    context.cleared.add(ino);
    return;
  }
  const area = Buffer.from(areaOf(bytes));
  // What a wrong checksum says is not said twice.
  const empty = !sealed || !holdsReserved(bytes);
  if (!empty) context.problem(where, 'something lies where nothing may', 'safe');
  const seen = newSeen(ino, disk, typeOf(disk) === S_IFDIR ? area : undefined, doubtful || !sealed);
  seen.dirty = !sealed || !empty;
  context.inodes.set(ino, seen);
  if (!(await checkContents(context, seen, area, sealed, names))) {
    context.inodes.delete(ino);
    context.cleared.add(ino);
  } else context.inodes.pack(seen);
}

/** @returns false where nothing of it can be kept: nothing has been claimed then */
async function checkContents(
  context: FsckContext,
  seen: Seen,
  area: Buffer,
  sealed: boolean,
  names: (ino: number) => void,
): Promise<boolean> {
  const type = typeOf(seen.disk);
  if (type !== S_IFDIR && seen.ino === ROOT_INO) {
    context.problem(`inode ${ROOT_INO}`, 'the root is not a directory');
    return false;
  }
  const inline = type === S_IFLNK && seen.disk.size <= AREA_SIZE;
  let end = 0;
  if (type === S_IFDIR) await checkDirTree(context, seen, area, names);
  else if (type === S_IFREG || (type === S_IFLNK && !inline)) {
    const scan = await scanExtents(context, seen, area);
    if (type === S_IFLNK && !(await checkLongLink(context, seen, area))) return false;
    if (type === S_IFREG && !sealed && scan.runs.length === 0 && !hasRoot(type, area)) {
      seen.empty = true;
      return true;
    }
    scan.claim();
    ({ end } = scan);
  } else if (inline) {
    if (!checkInlineLink(context, seen, area)) return false;
  } else if (area.some((byte) => byte !== 0)) {
    context.problem(`inode ${seen.ino}`, 'a special file with a tree');
    seen.plainArea = Buffer.alloc(AREA_SIZE);
    seen.dirty = true;
  }
  await checkAttributes(context, seen);
  checkFields(context, seen, end);
  checkSizes(context, seen);
  return true;
}
