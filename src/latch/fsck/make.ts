/** Making the trees of an inode anew: extents, entries, attributes. */

import { S_IFLNK, S_IFREG } from '../../uapi/stat.js';
import { buildTree, type KeyedRecord } from '../btree/build.js';
import { BODY_BYTES } from '../btree/tree.js';
import { dir_format, encodeEntry } from '../dir.js';
import { extent_format } from '../extents.js';
import { AREA_SIZE, EXTENT_SIZE, encodeExtent } from '../format/inode.js';
import { BLOCK_SIZE, INODES_PER_BLOCK } from '../format/layout.js';
import { checksumSeed, NODE_HEAD } from '../format/tree.js';
import { encodeXattr, INLINE_VALUE, initXattrRoot, type Run, sealXattrRoot, xattr_format } from '../xattr-record.js';
import { putBlock } from './buffers.js';
import type { FsckContext } from './context.js';
import { keyed } from './names.js';
import { type Attribute, type DirEntry, isDirectory, type Seen, typeOf } from './seen.js';
import type { Space } from './space.js';
import { forEachEntry } from './trees.js';

/** Make what is to be made of one inode, and let it say how large it is. @throws ENOSPC */
export async function makeTrees(context: FsckContext, seen: Seen, space: Space): Promise<void> {
  const maker = new Maker(context, seen, space);
  if (isDirectory(seen)) {
    const entries = await rightEntries(context, seen);
    if (entries !== undefined) maker.entries(entries);
  } else if (seen.extents !== undefined) maker.extents();
  for (const block of seen.oldNodes ?? []) context.usage.release(block);
  if (seen.attributes !== undefined) maker.attributes(seen.attributes);
  if (!seen.dirty) return;
  const { nodes, data, attributes } = seen.blocks;
  const size = isDirectory(seen) ? nodes * BLOCK_SIZE : seen.disk.size;
  seen.disk = { ...seen.disk, size, blocks: (nodes + data + attributes) * (BLOCK_SIZE / 512) };
}

/** The entries that a directory shall have, where it is to be made anew. */
async function rightEntries(context: FsckContext, dir: Seen): Promise<DirEntry[] | undefined> {
  const { edits } = dir;
  if (edits === undefined) return dir.entries;
  const kept: Omit<DirEntry, 'key'>[] = [];
  const old: number[] = [];
  await forEachEntry(
    context,
    dir,
    ({ key, name, ino, type }) => {
      if (!edits.drop.has(key)) kept.push({ name, ino, type: edits.retype.get(key) ?? type });
    },
    (block) => old.push(block),
  );
  dir.oldNodes = old;
  return keyed([...kept, ...edits.add], context.rulesOf(dir.disk.flags));
}

class Maker {
  readonly #context: FsckContext;
  readonly #seen: Seen;
  readonly #space: Space;
  readonly #seed: number;
  #near: number;

  constructor(context: FsckContext, seen: Seen, space: Space) {
    this.#context = context;
    this.#seen = seen;
    this.#space = space;
    this.#seed = checksumSeed(context.super.uuid, seen.ino, seen.disk.generation);
    this.#near = Math.floor(seen.ino / INODES_PER_BLOCK);
  }

  #take(): number {
    this.#near = this.#space.take(this.#near);
    return this.#near;
  }

  #build(
    format: Parameters<typeof buildTree>[1],
    records: readonly KeyedRecord[],
    rootBytes: number,
  ): ReturnType<typeof buildTree> {
    const host = {
      ino: this.#seen.ino,
      seed: this.#seed,
      bodyBytes: BODY_BYTES,
      allocate: () => this.#take(),
      write: (block: number, bytes: Buffer) => putBlock(this.#context, block, bytes),
    };
    return buildTree(host, format, records, rootBytes);
  }

  /** The root goes into the inode. */
  #inArea(format: Parameters<typeof buildTree>[1], records: readonly KeyedRecord[]): void {
    const { root, nodes } = this.#build(format, records, AREA_SIZE);
    this.#seen.plainArea = root;
    this.#seen.blocks.nodes = nodes;
    this.#seen.dirty = true;
  }

  entries(entries: readonly DirEntry[]): void {
    this.#inArea(
      dir_format,
      entries.map(({ key, name, ino, type }) => ({ key, bytes: encodeEntry(key, name, ino, type) })),
    );
  }

  extents(): void {
    const { extents = [], disk } = this.#seen;
    if (typeOf(disk) !== S_IFREG && typeOf(disk) !== S_IFLNK) return;
    const records = extents.map((extent) => {
      const bytes = Buffer.alloc(EXTENT_SIZE);
      encodeExtent(bytes, 0, extent);
      return { key: extent.logical, bytes };
    });
    this.#inArea(extent_format, records);
  }

  attributes(attributes: readonly Attribute[]): void {
    const { disk, blocks, ino } = this.#seen;
    this.#seen.dirty = true;
    blocks.attributes = 0;
    if (attributes.length === 0) {
      this.#seen.disk = { ...disk, xattrBlock: 0 };
      return;
    }
    const block = this.#take();
    const places = keyed(
      attributes.map(({ name }, type) => ({ name, ino: 0, type })),
      this.#context.rulesOf(0),
    );
    const records = places.map(({ key, name, type: i }) => {
      const value = attributes[i]?.value ?? Buffer.alloc(0);
      const runs = value.length > INLINE_VALUE ? this.#value(value) : [];
      blocks.attributes += runs.length;
      return { key, bytes: encodeXattr(key, name, value, runs, this.#seed) };
    });
    const { root, nodes } = this.#build(xattr_format, records, BODY_BYTES);
    const bytes = Buffer.alloc(BLOCK_SIZE);
    initXattrRoot(bytes, ino, block);
    root.copy(bytes, NODE_HEAD);
    sealXattrRoot(
      bytes,
      this.#seed,
      places.reduce((sum, { name }) => sum + name.length + 1, 0),
    );
    putBlock(this.#context, block, bytes);
    blocks.attributes += 1 + nodes;
    this.#seen.disk = { ...disk, xattrBlock: block };
  }

  /** Put a value into blocks of its own: runs of one block each, which continue each other perhaps. */
  #value(value: Buffer): Run[] {
    const runs: Run[] = [];
    for (let at = 0; at < value.length; at += BLOCK_SIZE) {
      const bytes = Buffer.alloc(BLOCK_SIZE);
      value.copy(bytes, 0, at, at + BLOCK_SIZE);
      const start = this.#take();
      putBlock(this.#context, start, bytes);
      runs.push({ start, length: 1 });
    }
    return runs;
  }
}
