/** An inode in use, as fsck sees it. */

import { S_IFDIR, S_IFMT } from '../../uapi/stat.js';
import type { DiskInode, Extent } from '../format/inode.js';

/** An entry of a directory. */
export interface DirEntry {
  /** Where it is in the directory. */
  readonly key: number;
  readonly name: string;
  readonly ino: number;
  readonly type: number;
}

/** How the entries of a directory shall change. */
export interface DirEdits {
  /** Keys of entries that go. */
  readonly drop: Set<number>;
  /** Types that entries get, by key. */
  readonly retype: Map<number, number>;
  readonly add: Omit<DirEntry, 'key'>[];
}

/** An extended attribute that is kept. */
export interface Attribute {
  readonly name: string;
  readonly value: Buffer;
}

/** An inode that is in use: as it shall be, and what the rest of the filesystem says of it. */
export interface Seen {
  readonly ino: number;
  disk: DiskInode;
  /** The area as it was read: of directories only. */
  readonly area: Buffer | undefined;
  /** It must be written. */
  dirty: boolean;
  /**
   * What it has may be another's: its inode or its tree has lost its checksum, or nothing but that says that it is in use, and it may be left from a file that
   * was deleted.
   */
  doubtful: boolean;
  /** Its tree must be made anew, of these. */
  extents: Extent[] | undefined;
  entries: DirEntry[] | undefined;
  edits: DirEdits | undefined;
  /** Nodes of a tree without fault that is made anew all the same: they are free afterwards. */
  oldNodes: number[] | undefined;
  /** Its attributes must be made anew, of these. */
  attributes: Attribute[] | undefined;
  /** What its area shall be, where that is no tree. */
  plainArea: Buffer | undefined;
  /** Blocks of each kind that are its own, without what is to be made anew. */
  readonly blocks: { nodes: number; data: number; attributes: number };
  /** Of a file: its inode is damaged, and held nothing of its tree. */
  empty: boolean;
  /** Names that were found and are kept. */
  names: number;
  /** Of a directory: directories in it. */
  subdirectories: number;
  /** Of a directory: has it entries? */
  hasEntries: boolean;
  /** Of a directory: the directory that its name is in, and the key of that. */
  foundIn: { readonly dir: number; readonly key: number } | undefined;
  /** On the orphan list. */
  orphan: boolean;
}

/** An inode of which nothing is known yet but what it holds. */
export function newSeen(ino: number, disk: DiskInode, area?: Buffer, doubtful = false): Seen {
  return {
    ino,
    disk,
    area,
    dirty: false,
    doubtful,
    extents: undefined,
    entries: undefined,
    edits: undefined,
    oldNodes: undefined,
    attributes: undefined,
    plainArea: undefined,
    blocks: { nodes: 0, data: 0, attributes: 0 },
    empty: false,
    names: 0,
    subdirectories: 0,
    hasEntries: false,
    foundIn: undefined,
    orphan: false,
  };
}

/** S_IF* of an inode. */
export function typeOf(disk: DiskInode): number {
  return disk.mode & S_IFMT;
}

/** Whether it is a directory. */
export function isDirectory(seen: Seen): boolean {
  return typeOf(seen.disk) === S_IFDIR;
}

/** What is to change among the entries of a directory. */
export function editsOf(dir: Seen): DirEdits {
  dir.edits ??= { drop: new Set(), retype: new Map(), add: [] };
  return dir.edits;
}
