/** Checking the trees of inodes: extents, directory entries, and the blocks that they take. */
import { crc32 } from 'node:zlib';
import { brelse, sb_bread } from '../../block/buffer-cache.js';
import { checkTree, type TreeVisitor } from '../btree/check.js';
import type { TreeFormat } from '../btree/node.js';
import { BODY_BYTES, type TreeHost } from '../btree/tree.js';
import { dir_format } from '../dir.js';
import { extent_format } from '../extents.js';
import { type DiskInode, decodeExtent } from '../format/inode.js';
import { checksumSeed, NODE_HEAD } from '../format/tree.js';
import { xattr_format } from '../xattr-store.js';
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
    await walkTree(context, ino, disk, area, extent_format, {
      ...visitor,
      record: (bytes, at) => {
        const { logical, physical, length } = decodeExtent(bytes, at);
        if (length === 0) context.problem(where, `the extent at block ${logical} is empty`);
        if (logical < end) context.problem(where, `the extent at block ${logical} overlaps the one before`);
        if (logical + length > 2 ** 32) context.problem(where, `the extent at block ${logical} is too long`);
        end = logical + length;
        if (context.claim(where, physical, length)) data += length;
      },
    });
    if (type === S_IFLNK && (data !== 1 || end !== 1))
      context.problem(where, 'a long symlink has one block, its first');
  } else if (!inline && area.some((byte) => byte !== 0)) context.problem(where, 'a special file with a tree');
  const attributes = disk.xattrBlock === 0 ? 0 : await checkXattrs(context, ino, disk);
  const blocks = nodes + data + attributes;
  if (disk.blocks !== blocks * 8) context.problem(where, `says ${disk.blocks} sectors, and has ${blocks * 8}`);
}

/** @returns how many blocks the attributes take */
async function checkXattrs(context: FsckContext, ino: number, disk: DiskInode): Promise<number> {
  const where = `inode ${ino}, extended attributes`;
  const root = disk.xattrBlock;
  if (!context.claim(where, root, 1, true)) return 0;
  const host = hostOf(context, ino, disk);
  const bh = await sb_bread(context.task, context.bdev, root);
  const data = Buffer.from(bh.b_data);
  brelse(bh);
  if (data.toString('latin1', 4, 8) !== 'LXAT') {
    context.problem(where, `block ${root} holds none`);
    return 1;
  }
  if (data.readUInt32LE(0) !== crc32(data.subarray(4), host.seed)) {
    context.problem(where, `the checksum of block ${root} is wrong`);
  }
  if (data.readUIntLE(8, 6) !== ino || data.readUInt32LE(16) !== root) {
    context.problem(
      where,
      `block ${root} says that it is block ${data.readUInt32LE(16)} of inode ${data.readUIntLE(8, 6)}`,
    );
  }
  let blocks = 1;
  let names = 0;
  await checkTree(context.task, host, xattr_format, data.subarray(NODE_HEAD), context.super.blocks, {
    problem: ({ block, message }) => context.problem(where, `block ${block ?? root} of their tree: ${message}`),
    node: (block) => {
      if (!context.claim(where, block, 1, true)) return false;
      blocks++;
      return true;
    },
    record: (bytes, at) => {
      const nameLength = bytes[at + 8] ?? 0;
      names += nameLength + 1;
      const runs = bytes.readUInt16LE(at + 10);
      for (let i = 0; i < runs; i++) {
        const run = at + 16 + nameLength + 4 + i * 8;
        const length = bytes.readUInt32LE(run + 4);
        if (context.claim(where, bytes.readUInt32LE(run), length, true)) blocks += length;
      }
    },
  });
  if (names !== data.readUInt32LE(20)) {
    context.problem(where, `says that the names take ${data.readUInt32LE(20)} bytes, they take ${names}`);
  }
  return blocks;
}
