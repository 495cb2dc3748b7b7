/** Checking the groups: descriptors and bitmaps by themselves first, and against what is in use at the end. */
import { crc32 } from 'node:zlib';
import { brelse, sb_bread } from '../../block/buffer-cache.js';
import { countSet, isSet } from '../bitmap.js';
import { decodeGroup, emptyBitmap, type GroupDescriptor, groupSeed } from '../format/group.js';
import {
  BLOCK_BITMAP,
  BLOCK_SIZE,
  GROUP_BLOCKS,
  GROUP_HEAD,
  groupSize,
  groupsOf,
  INODE_BITMAP,
  ROOM_BITMAP,
} from '../format/layout.js';
import type { FsckContext } from './context.js';

/** A group as it was read. */
export interface ReadGroup {
  readonly number: number;
  readonly base: number;
  readonly size: number;
  readonly descriptor: GroupDescriptor | undefined;
  readonly blocks: Buffer;
  readonly inodes: Buffer;
  readonly room: Buffer;
}

async function readBlock(context: FsckContext, block: number): Promise<Buffer> {
  const bh = await sb_bread(context.task, context.bdev, block);
  const bytes = Buffer.from(bh.b_data);
  brelse(bh);
  return bytes;
}

/** Read every group; a bitmap whose checksum is wrong is told, and used all the same. */
export async function readGroups(context: FsckContext): Promise<ReadGroup[]> {
  const { blocks, uuid } = context.super;
  const groups: ReadGroup[] = [];
  for (let number = 0; number < groupsOf(blocks); number++) {
    const base = number * GROUP_BLOCKS;
    const size = groupSize(blocks, number);
    const seed = groupSeed(uuid, number);
    const found = decodeGroup(await readBlock(context, base), seed, size);
    context.claimHead(base, GROUP_HEAD);
    if (typeof found === 'string') context.problem(`group ${number}`, found);
    const unused = found === undefined;
    const empty = Buffer.alloc(BLOCK_SIZE);
    const group = {
      number,
      base,
      size,
      descriptor: typeof found === 'string' ? undefined : found,
      blocks: unused ? emptyBitmap() : await readBlock(context, base + BLOCK_BITMAP),
      inodes: unused ? empty : await readBlock(context, base + INODE_BITMAP),
      room: unused ? empty : await readBlock(context, base + ROOM_BITMAP),
    };
    if (context.checked && group.descriptor !== undefined) checkSums(context, group, group.descriptor, seed);
    groups.push(group);
  }
  const tail = groupsOf(blocks) * GROUP_BLOCKS;
  if (tail < blocks) context.claimHead(tail, blocks - tail);
  return groups;
}

function checkSums(context: FsckContext, group: ReadGroup, descriptor: GroupDescriptor, seed: number): void {
  for (const [name, bits, sum] of [
    ['block bitmap', group.blocks, descriptor.blockBitmap],
    ['inode bitmap', group.inodes, descriptor.inodeBitmap],
    ['room bitmap', group.room, descriptor.roomBitmap],
  ] as const) {
    if (crc32(bits, seed) !== sum) context.problem(`group ${group.number}`, `the checksum of the ${name} is wrong`);
  }
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

/** Compare the bitmaps and counts with what is in use. */
export function checkUse(context: FsckContext, groups: readonly ReadGroup[]): void {
  let free = 0;
  for (const group of groups) {
    const where = `group ${group.number}`;
    const lost: number[] = [];
    const taken: number[] = [];
    for (let at = 0; at < group.size; at++) {
      const marked = isSet(group.blocks, at);
      const used = context.isUsed(group.base + at);
      if (marked && !used) lost.push(group.base + at);
      if (!marked && used) taken.push(group.base + at);
    }
    if (lost.length > 0) context.problem(where, `marked in use, but nobody has them: blocks ${runs(lost)}`);
    if (taken.length > 0) context.problem(where, `in use, but marked free: blocks ${runs(taken)}`);
    const here = group.size - countSet(group.blocks, group.size);
    free += here;
    if (group.descriptor !== undefined && group.descriptor.freeBlocks !== here) {
      context.problem(where, `the descriptor says ${group.descriptor.freeBlocks} free blocks, the bitmap ${here}`);
    }
    for (let at = group.size; at < GROUP_BLOCKS; at++) {
      if (isSet(group.blocks, at) || isSet(group.inodes, at) || isSet(group.room, at)) {
        context.problem(where, `a bitmap has bit ${at} set, beyond the end of the group`);
        break;
      }
    }
  }
  if (context.super.freeBlocks !== free) {
    context.problem('superblock', `says ${context.super.freeBlocks} free blocks, the bitmaps ${free}`);
  }
}
