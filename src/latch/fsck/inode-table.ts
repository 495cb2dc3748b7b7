/**
 * The inodes in use, by number. There may be millions of them, and nothing is wrong with most: of a file about which there is no more to say than a few numbers those are kept in
 * bytes outside the heap, and it gets an object when somebody asks for it.
 */
import { encodeInode } from '../format/inode.js';
import { INODES_PER_BLOCK } from '../format/layout.js';
import { ATTRIBUTES, DATA, NAMES, NODES, PackedInode, RECORD, type Unpacked } from './packed-inode.js';
import { isDirectory, newSeen, type Seen } from './seen.js';

const MAX = 2 ** 32;
/** Bytes that are taken from the system at a time. */
const SLAB = Math.floor(2 ** 20 / (RECORD * INODES_PER_BLOCK)) * RECORD * INODES_PER_BLOCK;

/** The inodes of one block. */
interface Chunk {
  /** A bit for each slot in use. */
  used: number;
  /** A bit for each of those that are kept in bytes. */
  packed: number;
  bytes: Buffer | undefined;
}

export class InodeTable implements Unpacked {
  readonly #chunks = new Map<number, Chunk>();
  readonly #whole = new Map<number, Seen>();
  #slab = Buffer.alloc(0);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  has(ino: number): boolean {
    const chunk = this.#chunks.get(Math.floor(ino / INODES_PER_BLOCK));
    return chunk !== undefined && (chunk.used & bitOf(ino)) !== 0;
  }

  /** What is changed in it is kept. Of one that is kept in bytes each call makes another object. */
  get(ino: number): Seen | undefined {
    return this.#at(ino);
  }

  #at(ino: number): Seen | undefined {
    const bytes = this.#packed(ino);
    return bytes === undefined ? this.#whole.get(ino) : new PackedInode(this, ino, bytes);
  }

  set(ino: number, seen: Seen): void {
    const block = Math.floor(ino / INODES_PER_BLOCK);
    const chunk = this.#chunks.get(block) ?? { used: 0, packed: 0, bytes: undefined };
    this.#chunks.set(block, chunk);
    if ((chunk.used & bitOf(ino)) === 0) this.#size++;
    chunk.used |= bitOf(ino);
    chunk.packed &= ~bitOf(ino);
    this.#whole.set(ino, seen);
  }

  delete(ino: number): void {
    const chunk = this.#chunks.get(Math.floor(ino / INODES_PER_BLOCK));
    if (chunk === undefined || (chunk.used & bitOf(ino)) === 0) return;
    chunk.used &= ~bitOf(ino);
    chunk.packed &= ~bitOf(ino);
    this.#whole.delete(ino);
    this.#size--;
  }

  /** All of them, by the blocks in the order in which they came. */
  *values(): Generator<Seen> {
    for (const [block, chunk] of this.#chunks) {
      for (let slot = 0; slot < INODES_PER_BLOCK; slot++) {
        if ((chunk.used & (1 << slot)) === 0) continue;
        const seen = this.#at(block * INODES_PER_BLOCK + slot);
        if (seen !== undefined) yield seen;
      }
    }
  }

  some(is: (seen: Seen) => boolean): boolean {
    for (const seen of this.values()) if (is(seen)) return true;
    return false;
  }

  /** Keep one in bytes, if there is nothing special about it. Whoever has the object must ask for it anew. */
  pack(seen: Seen): void {
    const { ino, blocks } = seen;
    const chunk = this.#chunks.get(Math.floor(ino / INODES_PER_BLOCK));
    if (chunk === undefined || !isPlain(seen)) return;
    const all = chunk.bytes ?? this.#room();
    chunk.bytes = all;
    const bytes = recordOf(all, ino);
    encodeInode(bytes, seen.disk);
    bytes.writeUInt32LE(seen.names, NAMES);
    bytes.writeUInt32LE(blocks.nodes, NODES);
    bytes.writeUInt32LE(blocks.data, DATA);
    bytes.writeUInt32LE(blocks.attributes, ATTRIBUTES);
    chunk.packed |= bitOf(ino);
    this.#whole.delete(ino);
  }

  whole(ino: number): Seen | undefined {
    return this.#whole.get(ino);
  }

  unpack(packed: Seen): Seen {
    const { ino, disk, names, blocks } = packed;
    const seen = newSeen(ino, disk);
    seen.names = names;
    Object.assign(seen.blocks, blocks);
    this.set(ino, seen);
    return seen;
  }

  #packed(ino: number): Buffer | undefined {
    const chunk = this.#chunks.get(Math.floor(ino / INODES_PER_BLOCK));
    if (chunk?.bytes === undefined || (chunk.packed & bitOf(ino)) === 0) return undefined;
    return recordOf(chunk.bytes, ino);
  }

  /** Bytes for the inodes of a block. */
  #room(): Buffer {
    if (this.#slab.length === 0) this.#slab = Buffer.alloc(SLAB);
    const bytes = this.#slab.subarray(0, RECORD * INODES_PER_BLOCK);
    this.#slab = this.#slab.subarray(RECORD * INODES_PER_BLOCK);
    return bytes;
  }
}

function bitOf(ino: number): number {
  return 1 << (ino % INODES_PER_BLOCK);
}

function recordOf(bytes: Buffer, ino: number): Buffer {
  const at = (ino % INODES_PER_BLOCK) * RECORD;
  return bytes.subarray(at, at + RECORD);
}

/** Whether a record holds all that is known of an inode. */
function isPlain(seen: Seen): boolean {
  const { nodes, data, attributes } = seen.blocks;
  const rebuilt = seen.extents ?? seen.entries ?? seen.edits ?? seen.oldNodes ?? seen.attributes ?? seen.plainArea;
  if (seen.dirty || seen.doubtful || seen.empty || seen.orphan || rebuilt !== undefined) return false;
  return !isDirectory(seen) && seen.names < MAX && nodes < MAX && data < MAX && attributes < MAX;
}
