/** Checking every inode by itself: its checksum, its fields, its blocks. */
import { brelse, sb_bread } from '../../block/buffer-cache.js';
import { isSet } from '../bitmap.js';
import { AREA_SIZE, areaOf, type DiskInode, decodeInode, inodeIsSealed, inodeSeed } from '../format/inode.js';
import { BLOCK_SIZE, GROUP_HEAD, INODE_SIZE, INODES_PER_BLOCK, MAX_FILE_BYTES, ROOT_INO } from '../format/layout.js';
import { COMPAT_INODE_BLOCKS } from '../format/superblock.js';
import type { FsckContext } from './context.js';
import type { ReadGroup } from './groups.js';
import { checkBlocks } from './trees.js';

const S_IFMT = 0o170000;
export const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
const TYPES = new Set([0o010000, 0o020000, S_IFDIR, 0o060000, S_IFREG, S_IFLNK, 0o140000]);
const NSEC = 1_000_000_000;

/** Read all blocks of inodes, and check what is in them. */
export async function checkInodes(context: FsckContext, groups: readonly ReadGroup[]): Promise<void> {
  let blocks = 0;
  for (const group of groups) {
    for (let at = 0; at < group.size; at++) {
      const room = isSet(group.room, at);
      if (isSet(group.inodes, at)) {
        if (at < GROUP_HEAD) context.problem(`group ${group.number}`, `the inode bitmap has the head's block ${at}`);
        else {
          blocks++;
          await checkBlock(context, group.base + at, room);
        }
      } else if (room) {
        context.problem(`group ${group.number}`, `the room bitmap has block ${group.base + at}, which holds no inodes`);
      }
    }
  }
  const root = context.inodes.get(ROOT_INO);
  if (root === undefined) context.problem(`inode ${ROOT_INO}`, 'the root is missing');
  else if ((root.disk.mode & S_IFMT) !== S_IFDIR) context.problem(`inode ${ROOT_INO}`, 'the root is not a directory');
  const { compat, inodeBlocks } = context.super;
  if ((compat & COMPAT_INODE_BLOCKS) !== 0 && inodeBlocks !== blocks) {
    context.problem('superblock', `says ${inodeBlocks} blocks of inodes, there are ${blocks}`);
  }
  if (context.super.inodes !== context.inodes.size) {
    context.problem('superblock', `says ${context.super.inodes} inodes in use, there are ${context.inodes.size}`);
  }
}

async function checkBlock(context: FsckContext, block: number, room: boolean): Promise<void> {
  context.claim(`inode block ${block}`, block, 1, true);
  const bh = await sb_bread(context.task, context.bdev, block);
  const bytes = Buffer.from(bh.b_data);
  brelse(bh);
  let used = 0;
  for (let slot = 0; slot < INODES_PER_BLOCK; slot++) {
    const inode = bytes.subarray(slot * INODE_SIZE, (slot + 1) * INODE_SIZE);
    if (inode.readUInt32LE(0) === 0) continue;
    used++;
    await checkInode(context, block * INODES_PER_BLOCK + slot, inode);
  }
  if (room !== used < INODES_PER_BLOCK) {
    const says = room ? 'has room' : 'is full';
    context.problem(`inode block ${block}`, `the room bitmap says that it ${says}, ${used} of its inodes are in use`);
  }
}

async function checkInode(context: FsckContext, ino: number, bytes: Buffer): Promise<void> {
  const where = `inode ${ino}`;
  if (context.checked && !inodeIsSealed(bytes, inodeSeed(context.super.uuid, ino))) {
    context.problem(where, 'the checksum is wrong');
  }
  const disk = decodeInode(bytes);
  const type = disk.mode & S_IFMT;
  const area = type === S_IFDIR ? Buffer.from(areaOf(bytes)) : undefined;
  context.inodes.set(ino, { ino, disk, area, names: 0, subdirectories: 0, foundIn: undefined, orphan: false });
  if (!TYPES.has(type) || disk.mode > 0o177777) {
    context.problem(where, `mode ${disk.mode.toString(8)} is none`);
    return;
  }
  checkFields(context, where, disk, type);
  const inline = type === S_IFLNK && disk.size <= AREA_SIZE;
  if (inline && areaOf(bytes).indexOf(0) !== disk.size && disk.size < AREA_SIZE) {
    context.problem(where, `the target of the symlink is not ${disk.size} bytes long`);
  }
  await checkBlocks(context, ino, disk, areaOf(bytes), inline);
}

function checkFields(context: FsckContext, where: string, disk: DiskInode, type: number): void {
  if (type === S_IFREG && disk.size > MAX_FILE_BYTES) context.problem(where, `a size of ${disk.size} bytes`);
  if (type === S_IFLNK && (disk.size === 0 || disk.size >= BLOCK_SIZE)) {
    context.problem(where, `a symlink of ${disk.size} bytes`);
  }
  if (type !== S_IFREG && type !== S_IFDIR && type !== S_IFLNK && disk.size !== 0) {
    context.problem(where, `a special file with a size of ${disk.size} bytes`);
  }
  for (const name of ['atime', 'mtime', 'ctime', 'btime'] as const) {
    if (disk[name].nsec >= NSEC) context.problem(where, `${name} has ${disk[name].nsec} nanoseconds`);
  }
}
