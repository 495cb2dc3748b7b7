/** Damage of every kind to a filesystem that is known, planted by chance, and who must not be harmed by it. */

import { crc32 } from 'node:zlib';
import { checkTree } from '../../src/latch/btree/check.js';
import { Node, type TreeFormat } from '../../src/latch/btree/node.js';
import { BODY_BYTES } from '../../src/latch/btree/tree.js';
import { dir_format } from '../../src/latch/dir.js';
import { extent_format } from '../../src/latch/extents.js';
import { decodeGroup, encodeGroup, groupSeed } from '../../src/latch/format/group.js';
import {
  areaOf,
  type DiskInode,
  decodeInode,
  encodeInode,
  inodeSeed,
  sealInode,
} from '../../src/latch/format/inode.js';
import {
  BLOCK_SIZE,
  GROUP_BLOCKS,
  groupSize,
  groupsOf,
  INODE_SIZE,
  INODES_PER_BLOCK,
} from '../../src/latch/format/layout.js';
import { copyBlock, decodeSuper, encodeSuper, fieldsOf, type Superblock } from '../../src/latch/format/superblock.js';
import { checksumSeed, NODE_HEAD } from '../../src/latch/format/tree.js';
import { xattr_format, xattrAt } from '../../src/latch/xattr-record.js';
import { S_IFMT } from '../../src/uapi/stat.js';
import { machine } from './journal/crash-device.js';

/** A piece of metadata: what it is part of, and where it lies in the image. */
export interface Piece {
  readonly kind: 'super' | 'copy' | 'descriptor' | 'bitmap' | 'inode' | 'node' | 'xattrs' | 'value' | 'journal';
  readonly at: number;
  readonly length: number;
  /** The inode that it belongs to. */
  readonly ino?: number;
  readonly format?: TreeFormat;
}

/** All metadata of an image that is sound, and whose log is empty. */
export async function pieces(image: Buffer): Promise<Piece[]> {
  const m = machine(image, true);
  const task = m.task();
  const disk = superOf(image);
  const out: Piece[] = [
    { kind: 'super', at: 1024, length: 256 },
    { kind: 'copy', at: copyBlock(disk.blocks) * BLOCK_SIZE + 1024, length: 256 },
    { kind: 'journal', at: disk.journalFirst * BLOCK_SIZE, length: 64 },
  ];
  for (let group = 0; group < groupsOf(disk.blocks); group++) {
    const base = group * GROUP_BLOCKS * BLOCK_SIZE;
    out.push({ kind: 'descriptor', at: base + 2048, length: 64 });
    const length = Math.ceil(groupSize(disk.blocks, group) / 8);
    for (const which of [1, 2, 3]) out.push({ kind: 'bitmap', at: base + which * BLOCK_SIZE, length });
  }
  for (let block = 0; block < disk.blocks; block++) {
    const bit = block % GROUP_BLOCKS;
    const bits = (block - bit + 2) * BLOCK_SIZE;
    if (((image[bits + (bit >>> 3)] ?? 0) & (1 << (bit & 7))) === 0) continue;
    for (let slot = 0; slot < INODES_PER_BLOCK; slot++) {
      const ino = block * INODES_PER_BLOCK + slot;
      const bytes = slotOf(image, ino);
      const inode = decodeInode(bytes);
      if (inode.mode === 0) continue;
      out.push({ kind: 'inode', at: ino * INODE_SIZE, length: INODE_SIZE, ino });
      const nodes = async (
        format: TreeFormat,
        root: Buffer,
        record: (data: Buffer, at: number, key: number) => void,
      ) => {
        const host = { bdev: m.bdev, ino, seed: checksumSeed(disk.uuid, ino, inode.generation), bodyBytes: BODY_BYTES };
        await checkTree(task, { ...host, ...unchanging }, format, root, disk.blocks, {
          problem: ({ message }) => {
            throw new Error(message);
          },
          node: (node) => out.push({ kind: 'node', at: node * BLOCK_SIZE, length: BLOCK_SIZE, ino, format }) > 0,
          record,
        });
      };
      const type = inode.mode & S_IFMT;
      const isLong = type === 0o120000 && inode.size > 112;
      if (type === 0o040000) await nodes(dir_format, areaOf(bytes), () => undefined);
      else if (type === 0o100000 || isLong) await nodes(extent_format, areaOf(bytes), () => undefined);
      if (inode.xattrBlock === 0) continue;
      const at = inode.xattrBlock * BLOCK_SIZE;
      out.push({ kind: 'xattrs', at, length: BLOCK_SIZE, ino, format: xattr_format });
      await nodes(xattr_format, image.subarray(at + NODE_HEAD, at + BLOCK_SIZE), (data, where, key) => {
        for (const { start, length } of xattrAt(data, where, key).runs) {
          out.push({ kind: 'value', at: start * BLOCK_SIZE, length: length * BLOCK_SIZE, ino });
        }
      });
    }
  }
  return out;
}

function unchanged(): never {
  throw new Error('nothing is to be changed');
}
const unchanging = { allocate: unchanged, free: unchanged, root_access: unchanged, root_changed: unchanged };

function superOf(image: Buffer): Superblock {
  return decodeSuper(image.subarray(0, BLOCK_SIZE), 'image', image.length / BLOCK_SIZE);
}

function slotOf(image: Buffer, ino: number): Buffer {
  return image.subarray(ino * INODE_SIZE, (ino + 1) * INODE_SIZE);
}

/** An image that is being damaged. */
export class Damaged {
  readonly image: Buffer;
  /** Inodes of which something was changed: they need not be as they were. */
  readonly touched = new Set<number>();
  /** What was done, for messages. */
  readonly log: string[] = [];
  readonly #pieces: readonly Piece[];
  readonly #choose: (n: number) => number;
  readonly #disk: Superblock;
  readonly #kinds = new Set<string>();

  /** @param choose a number in [0, n) */
  constructor(image: Buffer, all: readonly Piece[], choose: (n: number) => number) {
    this.image = Buffer.from(image);
    this.#pieces = all;
    this.#choose = choose;
    this.#disk = superOf(image);
  }

  /** Whether something of that kind was damaged. */
  hit(kind: Piece['kind']): boolean {
    return this.#kinds.has(kind);
  }

  #pick<T>(list: readonly T[]): T {
    const one = list[this.#choose(list.length)];
    if (one === undefined) throw new Error('nothing to choose from');
    return one;
  }

  /** One more thing is wrong. */
  damage(): void {
    // Each kind is as likely as any other, however many of it there are.
    const kind = this.#pick([...new Set(this.#pieces.map((piece) => piece.kind))]);
    const piece = this.#pick(this.#pieces.filter((each) => each.kind === kind));
    if (kind === 'super' || kind === 'copy') {
      // With both gone nothing can be repaired.
      if (this.hit('super') || this.hit('copy')) return;
    }
    this.#kinds.add(kind);
    const how = this.#choose(3) === 0 ? this.#bytes(piece) : this.#fields(piece);
    this.log.push(`${kind} ${piece.ino ?? ''} at ${piece.at}: ${how}`);
    for (const other of this.#pieces) {
      if (other.ino !== undefined && other.at < piece.at + piece.length && piece.at < other.at + other.length) {
        this.touched.add(other.ino);
      }
    }
  }

  /** What a device does: bytes that are anything, checksums that do not fit. */
  #bytes({ at, length }: Piece): string {
    const bytes = this.image.subarray(at, at + length);
    switch (this.#choose(5)) {
      case 0:
        bytes.fill(0);
        return 'zeroed';
      case 1:
        for (let i = 0; i < length; i++) bytes[i] = this.#choose(256);
        return 'random bytes';
      case 2: {
        const other = this.#pick(this.#pieces);
        this.image.copy(bytes, 0, other.at, other.at + Math.min(length, other.length));
        return `overwritten by ${other.kind} at ${other.at}`;
      }
      default: {
        const count = 1 + this.#choose(4);
        const places = Array.from({ length: count }, () => this.#choose(length));
        for (const place of places) bytes[place] = this.#choose(256);
        return `bytes ${places.join(' ')}`;
      }
    }
  }

  /** What a bug does: fields that are wrong under checksums that fit. */
  #fields(piece: Piece): string {
    switch (piece.kind) {
      case 'super':
      case 'copy':
        return this.#super(piece);
      case 'descriptor':
        return this.#descriptor(piece, () => undefined, true);
      case 'bitmap':
        return this.#bitmap(piece);
      case 'inode':
        return this.#inode(piece);
      case 'node':
      case 'xattrs':
        return this.#node(piece);
      default:
        return this.#bytes(piece);
    }
  }

  /** A number that a field could be set to. */
  #number(): number {
    const ino = this.#pick(this.#pieces.filter((piece) => piece.ino !== undefined)).ino ?? 0;
    const block = Math.floor(this.#pick(this.#pieces).at / BLOCK_SIZE);
    return this.#pick([
      0,
      1,
      2,
      5,
      255,
      4096,
      2047,
      2048,
      0x7fffffff,
      0xffffffff,
      this.#choose(2048),
      ino,
      block,
      block,
    ]);
  }

  #super({ at }: Piece): string {
    const block = this.image.subarray(at - 1024, at - 1024 + BLOCK_SIZE);
    const fields = ['freeBlocks', 'inodes', 'inodeBlocks', 'orphan', 'generation', 'mounts'] as const;
    const fixed = ['blocks', 'journalFirst', 'journalLength', 'incompat'] as const;
    const name = this.#pick([...fields, ...fixed, 'quotaInodes' as const, 'compat' as const]);
    let value: number | [number, number] = this.#number();
    if (name === 'incompat' || name === 'compat') value = this.#choose(16);
    else if (name === 'quotaInodes') value = [this.#number(), this.#number()];
    encodeSuper(block, { ...fieldsOf(block), [name]: value });
    return `${name} ${value}`;
  }

  /** @param at what is changed lies in that group */
  #descriptor({ at }: Piece, change: () => void, count: boolean): string {
    const group = Math.floor(at / BLOCK_SIZE / GROUP_BLOCKS);
    const block = (n: number): Buffer => {
      const first = (group * GROUP_BLOCKS + n) * BLOCK_SIZE;
      return this.image.subarray(first, first + BLOCK_SIZE);
    };
    const seed = groupSeed(this.#disk.uuid, group);
    const size = groupSize(this.#disk.blocks, group);
    const old = decodeGroup(block(0), seed, size);
    change();
    if (old === undefined || typeof old === 'string') return 'nothing: it is damaged already, or was never used';
    const sum = (which: number): number => crc32(block(which), seed);
    const freeBlocks = count ? this.#number() % size : old.freeBlocks;
    encodeGroup(block(0), seed, { freeBlocks, blockBitmap: sum(1), inodeBitmap: sum(2), roomBitmap: sum(3) });
    return `sealed, ${freeBlocks} free blocks`;
  }

  #bitmap(piece: Piece): string {
    const { at, length } = piece;
    const places = Array.from({ length: 1 + this.#choose(6) }, () => this.#choose(length));
    const change = (): void => {
      for (const place of places) this.image[at + place] = this.#choose(256);
    };
    return `${this.#descriptor(piece, change, false)}, bytes ${places.join(' ')}`;
  }

  #inode({ ino = 0 }: Piece): string {
    const bytes = slotOf(this.image, ino);
    const old = decodeInode(bytes);
    const names = [
      'mode',
      'nlink',
      'size',
      'blocks',
      'generation',
      'flags',
      'xattrBlock',
      'parent',
      'nextOrphan',
    ] as const;
    const name = this.#pick<keyof DiskInode | 'area'>([...names, 'area', 'area', 'area', 'mtime']);
    let value: unknown = this.#number();
    if (name === 'mode') value = this.#pick([0o40755, 0o100644, 0o120777, 0o20600, 0o644, 0xffff, 0x81a4_0000]);
    if (name === 'mtime') value = { sec: 0, nsec: this.#number() };
    if (name !== 'area') encodeInode(bytes, { ...old, [name]: value });
    else value = this.#body(areaOf(bytes), (old.mode & S_IFMT) === 0o040000 ? dir_format : extent_format);
    sealInode(bytes, inodeSeed(this.#disk.uuid, ino));
    return `${name} ${JSON.stringify(value)}`;
  }

  #node({ at, ino = 0, format = dir_format }: Piece): string {
    const bytes = this.image.subarray(at, at + BLOCK_SIZE);
    const how = this.#body(bytes.subarray(NODE_HEAD), format);
    const { generation } = decodeInode(slotOf(this.image, ino));
    bytes.writeUInt32LE(crc32(bytes.subarray(4), checksumSeed(this.#disk.uuid, ino, generation)), 0);
    return how;
  }

  /** Something in the body of a node: a byte of its head, a slot, or a record. */
  #body(body: Buffer, format: TreeFormat): string {
    const node = new Node(format, body, 0, body.length);
    const count = Math.min(node.count, 300);
    if (this.#choose(4) === 0 || count === 0) {
      const place = this.#choose(16);
      body[place] = this.#choose(256);
      return `body byte ${place}`;
    }
    const slot = node.at(this.#choose(count));
    const place = slot + this.#choose(28);
    if (place + 6 > body.length) return 'nothing';
    if (this.#choose(2) === 0) {
      body[place] = this.#choose(256);
      return `byte ${place}`;
    }
    const value = this.#number();
    body.writeUInt32LE(value, place);
    return `word ${place}: ${value}`;
  }
}
