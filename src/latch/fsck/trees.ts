/** Checking the trees of inodes: extents, directory entries, and the blocks that they take. */
import { checkTree, type TreeVisitor } from '../btree/check.js';
import type { TreeFormat } from '../btree/node.js';
import { BODY_BYTES, type TreeHost } from '../btree/tree.js';
import { dir_format, nameKey } from '../dir.js';
import { endOf } from '../extents.js';
import { checkExtents } from '../extents-check.js';
import type { DiskInode } from '../format/inode.js';
import { checksumSeed } from '../format/tree.js';
import { checkXattrs } from '../xattr-check.js';
import type { FsckContext } from './context.js';

const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;

function unchanged(): never {
  throw new Error('a check changes nothing');
}

/** The tree of an inode, to be read only. */
export function hostOf(context: FsckContext, ino: number, disk: DiskInode): TreeHost {
  return {
    bdev: context.bdev,
    ino,
    seed: checksumSeed(context.super.uuid, ino, disk.generation),
    bodyBytes: BODY_BYTES,
    allocate: unchanged,
    free: unchanged,
    root_access: unchanged,
    root_changed: unchanged,
  };
}

/** Go through the tree in an inode's area. */
export function walkTree(
  context: FsckContext,
  ino: number,
  disk: DiskInode,
  area: Buffer,
  format: TreeFormat,
  visitor: TreeVisitor,
): Promise<void> {
  return checkTree(context.task, hostOf(context, ino, disk), format, area, context.super.blocks, visitor);
}

/**
 * Every block that an inode has is its own, and they are as many as it says.
 * @param inline a symlink whose target is in the inode
 */
export async function checkBlocks(
  context: FsckContext,
  ino: number,
  disk: DiskInode,
  area: Buffer,
  inline: boolean,
): Promise<void> {
  const where = `inode ${ino}`;
  const type = disk.mode & S_IFMT;
  let nodes = 0;
  let data = 0;
  const visitor = {
    problem: ({ block, message }: { block: number | undefined; message: string }): void => {
      context.problem(
        where,
        `${block === undefined ? 'the root of its tree' : `block ${block} of its tree`}: ${message}`,
      );
    },
    node: (block: number): boolean => {
      if (!context.claim(`${where}, tree`, block, 1, true)) return false;
      nodes++;
      return true;
    },
  };
  if (type === S_IFDIR) {
    await walkTree(context, ino, disk, area, dir_format, { ...visitor, record: () => undefined });
    if (disk.size !== nodes * 4096) context.problem(where, `a directory of ${disk.size} bytes with ${nodes} blocks`);
  } else if (type === S_IFREG || (type === S_IFLNK && !inline)) {
    let end = 0;
    await checkExtents(context.task, hostOf(context, ino, disk), area, context.super.blocks, {
      ...visitor,
      extent: (extent) => {
        end = endOf(extent);
        if (context.claim(where, extent.physical, extent.length)) data += extent.length;
      },
    });
    if (type === S_IFLNK && (data !== 1 || end !== 1))
      context.problem(where, 'a long symlink has one block, its first');
  } else if (!inline && area.some((byte) => byte !== 0)) context.problem(where, 'a special file with a tree');
  const attributes = disk.xattrBlock === 0 ? 0 : await attributeBlocks(context, ino, disk);
  const blocks = nodes + data + attributes;
  if (disk.blocks !== blocks * 8) context.problem(where, `says ${disk.blocks} sectors, and has ${blocks * 8}`);
}

/** @returns how many blocks the attributes take */
async function attributeBlocks(context: FsckContext, ino: number, disk: DiskInode): Promise<number> {
  const where = `inode ${ino}, extended attributes`;
  const { hashKey, blocks } = context.super;
  const hash = { k0: hashKey.readUInt32LE(0), k1: hashKey.readUInt32LE(4) };
  let found = 0;
  const claim = (start: number, length: number): boolean => {
    if (!context.claim(where, start, length, true)) return false;
    found += length;
    return true;
  };
  await checkXattrs(context.task, hostOf(context, ino, disk), disk.xattrBlock, blocks, (name) => nameKey(hash, name), {
    problem: ({ block, message }) => context.problem(where, `block ${block}: ${message}`),
    node: (block) => claim(block, 1),
    value: claim,
  });
  return found;
}
