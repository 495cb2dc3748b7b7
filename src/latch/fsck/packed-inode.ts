/** An inode about which there is no more to say than its fields and a few numbers: a view of bytes outside the heap. */
import { AREA, type DiskInode, decodeInode } from '../format/inode.js';
import type { Seen } from './seen.js';

/** Behind the inode as it is on the device, without its area: names, and blocks of each kind. */
export const NAMES = AREA;
export const NODES = NAMES + 4;
export const DATA = NODES + 4;
export const ATTRIBUTES = DATA + 4;
/** Bytes of all that. */
export const RECORD = ATTRIBUTES + 4;

/** Where the inodes are that have objects. */
export interface Unpacked {
  /** The object of an inode that is not, or no longer, kept in bytes. */
  whole(ino: number): Seen | undefined;
  /** Make an object of one that is kept in bytes: there is more to say about it. */
  unpack(packed: Seen): Seen;
}

/** An inode that is kept in bytes, until something is changed in it that the bytes have no place for. */
export class PackedInode implements Seen {
  readonly ino: number;
  readonly #table: Unpacked;
  readonly #bytes: Buffer;
  #disk: DiskInode | undefined;

  constructor(table: Unpacked, ino: number, bytes: Buffer) {
    this.#table = table;
    this.ino = ino;
    this.#bytes = bytes;
  }

  get #whole(): Seen | undefined {
    return this.#table.whole(this.ino);
  }

  get #changed(): Seen {
    return this.#whole ?? this.#table.unpack(this);
  }

  get disk(): DiskInode {
    const { disk } = this.#whole ?? { disk: undefined };
    if (disk !== undefined) return disk;
    this.#disk ??= decodeInode(this.#bytes);
    return this.#disk;
  }

  set disk(disk: DiskInode) {
    this.#changed.disk = disk;
  }

  get names(): number {
    return this.#whole?.names ?? this.#bytes.readUInt32LE(NAMES);
  }

  set names(names: number) {
    const whole = this.#whole;
    if (whole !== undefined) whole.names = names;
    else this.#bytes.writeUInt32LE(names, NAMES);
  }

  /** To be changed only in one that has an object already. */
  get blocks(): Seen['blocks'] {
    const bytes = this.#bytes;
    const kept = {
      nodes: bytes.readUInt32LE(NODES),
      data: bytes.readUInt32LE(DATA),
      attributes: bytes.readUInt32LE(ATTRIBUTES),
    };
    return this.#whole?.blocks ?? Object.freeze(kept);
  }

  get dirty(): boolean {
    return this.#whole?.dirty ?? false;
  }

  set dirty(dirty: boolean) {
    this.#changed.dirty = dirty;
  }

  get doubtful(): boolean {
    return this.#whole?.doubtful ?? false;
  }

  set doubtful(doubtful: boolean) {
    this.#changed.doubtful = doubtful;
  }

  get extents(): Seen['extents'] {
    return this.#whole?.extents;
  }

  set extents(extents: Seen['extents']) {
    this.#changed.extents = extents;
  }

  get entries(): Seen['entries'] {
    return this.#whole?.entries;
  }

  set entries(entries: Seen['entries']) {
    this.#changed.entries = entries;
  }

  get edits(): Seen['edits'] {
    return this.#whole?.edits;
  }

  set edits(edits: Seen['edits']) {
    this.#changed.edits = edits;
  }

  get oldNodes(): Seen['oldNodes'] {
    return this.#whole?.oldNodes;
  }

  set oldNodes(oldNodes: Seen['oldNodes']) {
    this.#changed.oldNodes = oldNodes;
  }

  get attributes(): Seen['attributes'] {
    return this.#whole?.attributes;
  }

  set attributes(attributes: Seen['attributes']) {
    this.#changed.attributes = attributes;
  }

  get plainArea(): Seen['plainArea'] {
    return this.#whole?.plainArea;
  }

  set plainArea(plainArea: Seen['plainArea']) {
    this.#changed.plainArea = plainArea;
  }

  get empty(): boolean {
    return this.#whole?.empty ?? false;
  }

  set empty(empty: boolean) {
    this.#changed.empty = empty;
  }

  get subdirectories(): number {
    return this.#whole?.subdirectories ?? 0;
  }

  set subdirectories(subdirectories: number) {
    this.#changed.subdirectories = subdirectories;
  }

  get hasEntries(): boolean {
    return this.#whole?.hasEntries ?? false;
  }

  set hasEntries(hasEntries: boolean) {
    this.#changed.hasEntries = hasEntries;
  }

  get foundIn(): Seen['foundIn'] {
    return this.#whole?.foundIn;
  }

  set foundIn(foundIn: Seen['foundIn']) {
    this.#changed.foundIn = foundIn;
  }

  get orphan(): boolean {
    return this.#whole?.orphan ?? false;
  }

  set orphan(orphan: boolean) {
    this.#changed.orphan = orphan;
  }

  /** Only directories have one. */
  get area(): undefined {
    return undefined;
  }
}
