/** Checking the groups: descriptors and bitmaps by themselves first, and against what is in use at the end. */
import { crc32 } from 'node:zlib';
import { countSet, isSet, setBit } from '../bitmap.js';
import {
  decodeGroup,
  emptyBitmap,
  encodeGroup,
  GROUP_OFFSET,
  GROUP_RESERVED,
  type GroupDescriptor,
  groupSeed,
  rawGroup,
} from '../format/group.js';
import {
  BLOCK_BITMAP,
  BLOCK_SIZE,
  GROUP_BLOCKS,
  GROUP_HEAD,
  groupSize,
  groupsOf,
  INODE_BITMAP,
  INODES_PER_BLOCK,
  ROOM_BITMAP,
} from '../format/layout.js';
import { COMPAT_INODE_BLOCKS } from '../format/superblock.js';
import type { FsckContext } from './context.js';

/** A group as it was read. */
export interface ReadGroup {
  readonly number: number;
  readonly base: number;
  readonly size: number;
  readonly seed: number;
  /** Undefined also where it is damaged. */
  readonly descriptor: GroupDescriptor | undefined;
  /** It was never used: nothing of it needs to be written. */
  readonly unused: boolean;
  readonly blocks: Buffer;
  readonly inodes: Buffer;
  readonly room: Buffer;
  /** The bitmaps have their checksums. */
  readonly blocksTrusted: boolean;
  readonly inodesTrusted: boolean;
}

/** How the bitmaps of a group shall be. */
export interface RightGroup {
  readonly group: ReadGroup;
  readonly blocks: Buffer;
  readonly inodes: Buffer;
  readonly room: Buffer;
  readonly freeBlocks: number;
}

/** Read every group; a bitmap whose checksum is wrong is told, and used all the same. */
export async function readGroups(context: FsckContext): Promise<ReadGroup[]> {
  const { blocks } = context.super;
  const groups: ReadGroup[] = [];
  for (let number = 0; number < groupsOf(blocks); number++) groups.push(await readGroup(context, number));
  const tail = groupsOf(blocks) * GROUP_BLOCKS;
  if (tail < blocks) context.claimHead(tail, blocks - tail);
  return groups;
}

/** Whether there is something in bytes of a descriptor that mean nothing: they are lost when it is written. */
function holdsReserved(head: Buffer, seed: number, group: GroupDescriptor): boolean {
  const written = Buffer.from(head);
  encodeGroup(written, seed, group);
  const from = GROUP_OFFSET + GROUP_RESERVED;
  return !written.subarray(from).equals(head.subarray(from));
}

async function readGroup(context: FsckContext, number: number): Promise<ReadGroup> {
  const { blocks, uuid } = context.super;
  const where = `group ${number}`;
  const base = number * GROUP_BLOCKS;
  const size = groupSize(blocks, number);
  const seed = groupSeed(uuid, number);
  const read = async (at: number): Promise<Buffer> =>
    (await context.read(base + at, where)) ?? Buffer.alloc(BLOCK_SIZE);
  const head = await read(0);
  const found = decodeGroup(head, seed, size);
  context.claimHead(base, GROUP_HEAD);
  if (typeof found === 'string') context.problem(where, found);
  else if (found !== undefined && holdsReserved(head, seed, found)) {
    context.problem(where, 'something lies where nothing may in its descriptor', 'safe');
  }
  const bits = { blocks: await read(BLOCK_BITMAP), inodes: await read(INODE_BITMAP), room: await read(ROOM_BITMAP) };
  // The bitmaps of a group that was never used are zeroes.
  const lost =
    found === undefined && (number === 0 || Object.values(bits).some((map) => map.some((byte) => byte !== 0)));
  if (lost) context.problem(where, 'the descriptor is missing');
  const unused = found === undefined && !lost;
  const raw = rawGroup(head);
  const trusted = (map: Buffer, sum: number): boolean => unused || !context.checked || crc32(map, seed) === sum;
  const group = {
    number,
    base,
    size,
    seed,
    descriptor: typeof found === 'string' ? undefined : found,
    unused,
    blocks: unused ? emptyBitmap() : bits.blocks,
    inodes: bits.inodes,
    room: bits.room,
    blocksTrusted: trusted(bits.blocks, raw.blockBitmap),
    inodesTrusted: trusted(bits.inodes, raw.inodeBitmap),
  };
  if (group.descriptor !== undefined) {
    const tell = (name: string): void => context.problem(where, `the checksum of the ${name} is wrong`, 'safe');
    if (!group.blocksTrusted) tell('block bitmap');
    if (!group.inodesTrusted) tell('inode bitmap');
    if (!trusted(group.room, raw.roomBitmap)) tell('room bitmap');
  }
  return group;
}

/** Runs of blocks in words. */
function runs(blocks: readonly number[]): string {
  const words: string[] = [];
  for (let i = 0; i < blocks.length; ) {
    const first = blocks[i] ?? 0;
    let last = first;
    while (blocks[i + 1] === last + 1) {
      last++;
      i++;
    }
    words.push(first === last ? `${first}` : `${first}-${last}`);
    i++;
  }
  return words.length > 8 ? `${words.slice(0, 8).join(', ')} and ${words.length - 8} more` : words.join(', ');
}

/** The bitmaps of a group as they follow from what is in use. */
export function rightGroup(context: FsckContext, group: ReadGroup): RightGroup {
  const { base, size } = group;
  const bits = { blocks: Buffer.alloc(BLOCK_SIZE), inodes: Buffer.alloc(BLOCK_SIZE), room: Buffer.alloc(BLOCK_SIZE) };
  context.usage.copy(base, size, bits.blocks);
  if (!bits.blocks.equals(emptyBitmap())) {
    for (let at = GROUP_HEAD; at < size; at++) {
      if (!context.inodeBlocks.has(base + at)) continue;
      setBit(bits.inodes, at);
      if (slotsUsed(context, base + at) < INODES_PER_BLOCK) setBit(bits.room, at);
    }
  }
  return { group, ...bits, freeBlocks: size - countSet(bits.blocks, size) };
}

function slotsUsed(context: FsckContext, block: number): number {
  let used = 0;
  for (let slot = 0; slot < INODES_PER_BLOCK; slot++) {
    if (context.inodes.has(block * INODES_PER_BLOCK + slot)) used++;
  }
  return used;
}

/** Compare the bitmaps and counts with what is in use. @param counted the superblock's counts are to be looked at */
export function checkUse(context: FsckContext, groups: readonly ReadGroup[], counted: boolean): void {
  let free = 0;
  for (const group of groups) {
    checkBitmaps(context, group);
    const here = group.size - countSet(group.blocks, group.size);
    free += here;
    if (group.descriptor !== undefined && group.descriptor.freeBlocks !== here) {
      const { freeBlocks } = group.descriptor;
      context.problem(
        `group ${group.number}`,
        `the descriptor says ${freeBlocks} free blocks, the bitmap ${here}`,
        'safe',
      );
    }
  }
  if (!counted) return;
  const { freeBlocks, compat, inodeBlocks, inodes } = context.super;
  if (freeBlocks !== free) {
    context.problem('superblock', `says ${freeBlocks} free blocks, the bitmaps ${free}`, 'safe');
  }
  if ((compat & COMPAT_INODE_BLOCKS) !== 0 && inodeBlocks !== context.inodeBlocks.size) {
    const are = context.inodeBlocks.size;
    context.problem('superblock', `says ${inodeBlocks} blocks of inodes, there are ${are}`, 'safe');
  }
  if (inodes !== context.inodes.size) {
    context.problem('superblock', `says ${inodes} inodes in use, there are ${context.inodes.size}`, 'safe');
  }
}

function checkBitmaps(context: FsckContext, group: ReadGroup): void {
  const where = `group ${group.number}`;
  const right = rightGroup(context, group);
  if (right.blocks.equals(group.blocks) && right.room.equals(group.room)) return;
  const lost: number[] = [];
  const taken: number[] = [];
  for (let at = 0; at < group.size; at++) {
    const block = group.base + at;
    const marked = isSet(group.blocks, at);
    const used = isSet(right.blocks, at);
    if (marked && !used) lost.push(block);
    if (!marked && used) taken.push(block);
    const room = isSet(group.room, at);
    if (room === isSet(right.room, at)) continue;
    if (!context.inodeBlocks.has(block)) {
      context.problem(where, `the room bitmap has block ${block}, which holds no inodes`, 'safe');
    } else {
      const says = room ? 'has room' : 'is full';
      const count = slotsUsed(context, block);
      context.problem(
        `inode block ${block}`,
        `the room bitmap says that it ${says}, ${count} of its inodes are in use`,
        'safe',
      );
    }
  }
  if (lost.length > 0) context.problem(where, `marked in use, but nobody has them: blocks ${runs(lost)}`, 'safe');
  if (taken.length > 0) context.problem(where, `in use, but marked free: blocks ${runs(taken)}`, 'safe');
  for (let at = group.size; at < GROUP_BLOCKS; at++) {
    if (isSet(group.blocks, at) || isSet(group.inodes, at) || isSet(group.room, at)) {
      context.problem(where, `a bitmap has bit ${at} set, beyond the end of the group`, 'safe');
      break;
    }
  }
}
