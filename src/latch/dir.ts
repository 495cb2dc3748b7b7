/**
 * Directories: a B+tree of entries by the hash of the name, whose root is in the inode, so that a small directory takes no block and a large one is as
 * fast. A record (a key of 8 bytes first, see format/tree.ts):
 *
 *     0  8  key: the low 44 bits of the name's hash, and in the lowest 8 bits a number that tells names of one hash apart
 *     8  6  inode                        15  1  length of the name
 *    14  1  type (DT_*)                  16  n  name
 *
 * The hash is HalfSipHash-2-4 with the key in the superblock. An entry keeps its key for as long as it exists: so the key is the position in a
 * listing, and one that goes on from there neither repeats nor misses an entry that stays, whatever comes and goes meanwhile.
 *
 * i_rwsem of the directory protects all of it. The callers mark the inode dirty in the same handle.
 */

import { utf8_casefold } from '../fs/unicode.js';
import { type Awaitable, andThen, nothing } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { NAME_MAX } from '../uapi/limits.js';
import { putKey, type TreeFormat } from './btree/node.js';
import { put, update } from './btree/put.js';
import { remove } from './btree/remove.js';
import type { BTree } from './btree/tree.js';
import { get48, put48 } from './format/bytes.js';
import { KIND_DIRECTORY } from './format/tree.js';
import type { Handle } from './journal/types.js';
import { KEYS_OF_HASH } from './names.js';

const INO = 8;
const TYPE = 14;
const LENGTH = 15;
const NAME = 16;
/** Keys are below this: positions of a listing must stay below 2^53. */
export const MAX_KEY = 2 ** 52;

export const dir_format: TreeFormat = {
  name: 'directory',
  kind: KIND_DIRECTORY,
  keyBytes: 8,
  minRecord: NAME,
  maxRecord: NAME + NAME_MAX,
  sizeOf: (data, at) => NAME + (data[at + LENGTH] ?? 0),
};

/** What a name stands for. */
export interface Entry {
  readonly ino: number;
  /** DT_*. */
  readonly type: number;
}

/** The name of the record at `at`. */
export function nameAt(data: Buffer, at: number): string {
  return data.toString('latin1', at + NAME, at + NAME + (data[at + LENGTH] ?? 0));
}

/** Whether that is the name of the record, byte by byte. */
function isNameAt(data: Buffer, at: number, name: string): boolean {
  const { length } = name;
  if (data[at + LENGTH] !== length) return false;
  for (let i = 0; i < length; i++) if (data[at + NAME + i] !== name.charCodeAt(i)) return false;
  return true;
}

/** What the record at `at` names. */
export function entryAt(data: Buffer, at: number): Entry {
  return { ino: get48(data, at + INO), type: data[at + TYPE] ?? 0 };
}

/** The record of an entry. */
export function encodeEntry(key: number, name: string, ino: number, type: number): Buffer {
  const record = Buffer.allocUnsafe(NAME + name.length);
  putKey(dir_format, record, 0, key);
  put48(record, ino, INO);
  record[TYPE] = type;
  record[LENGTH] = name.length;
  for (let i = 0; i < name.length; i++) record[NAME + i] = name.charCodeAt(i);
  return record;
}

/** Which names of a directory are one, and where they lie. */
export interface NameRules {
  /** The lowest key of a name's hash. */
  keyOf(name: string): number;
  /** What all names that count as one have in common. */
  fold(name: string): string;
}

/** @param keyOf as of Directory @param casefold whether the directory has FS_CASEFOLD_FL */
export function nameRules(keyOf: (name: string) => number, casefold: boolean): NameRules {
  if (!casefold) return { keyOf, fold: (name) => name };
  return { keyOf: (name) => keyOf(utf8_casefold(name)), fold: utf8_casefold };
}

/** A look for a name among the records of its hash. */
class Search {
  readonly name: string;
  /** What the name is where case does not count. */
  readonly folded: string | undefined;
  /** The lowest key of the hash. */
  readonly first: number;
  /** The key of the name, or -1; and what it stands for. */
  key = -1;
  entry: Entry | undefined;
  /** The numbers that other names of this hash have. */
  taken: number[] | undefined;

  constructor(name: string, folded: string | undefined, first: number) {
    this.name = name;
    this.folded = folded;
    this.first = first;
  }
}

function compare(data: Buffer, at: number, key: number, search: Search): boolean {
  const { first, folded, name } = search;
  if (key >= first + KEYS_OF_HASH) return false;
  if (folded === undefined ? isNameAt(data, at, name) : utf8_casefold(nameAt(data, at)) === folded) {
    search.key = key;
    search.entry = entryAt(data, at);
    return false;
  }
  search.taken ??= [];
  search.taken.push(key - first);
  return true;
}

function ended(_walked: boolean, search: Search): Search {
  return search;
}

function entryFound({ entry }: Search): Entry | undefined {
  return entry;
}

function addFree(
  { key: found, name, first, taken }: Search,
  tree: BTree,
  task: Task,
  handle: Handle,
  ino: number,
  type: number,
): Awaitable<void> {
  if (found >= 0) throw errno('EEXIST');
  let number = 0;
  while (taken?.includes(number)) number++;
  if (number >= KEYS_OF_HASH) throw errno('ENOSPC', 'too many names of one hash');
  const key = first + number;
  return put(tree, task, handle, key, encodeEntry(key, name, ino, type));
}

interface Target {
  readonly ino: number;
  readonly type: number;
}

function setFound(
  { key }: Search,
  tree: BTree,
  task: Task,
  handle: Handle,
  ino: number,
  type: number,
): Awaitable<void> {
  if (key < 0) throw errno('ENOENT');
  return andThen(update(tree, task, handle, key, encodeTarget, { ino, type }), nothing);
}

function encodeTarget(data: Buffer, at: number, { ino, type }: Target): void {
  put48(data, ino, at + INO);
  data[at + TYPE] = type;
}

function removeFound({ key }: Search, tree: BTree, task: Task, handle: Handle): Awaitable<void> {
  if (key < 0) throw errno('ENOENT');
  return andThen(remove(tree, task, handle, key), nothing);
}

export class Directory {
  readonly tree: BTree;
  readonly #keyOf: (name: string) => number;
  readonly #isFolded: () => boolean;

  /**
   * @param keyOf the lowest key of a name's hash: nameKey with the key of the filesystem
   * @param isFolded whether names are without regard to case now; it changes only while the directory is empty
   */
  constructor(tree: BTree, keyOf: (name: string) => number, isFolded: () => boolean = () => false) {
    this.tree = tree;
    this.#keyOf = keyOf;
    this.#isFolded = isFolded;
  }

  /** Blocks that one change may dirty, the inode's own not counted. */
  get credits(): number {
    return this.tree.credits;
  }

  /** @returns what the name stands for, or undefined. With i_rwsem held. @throws EIO */
  lookup(task: Task, name: string): Awaitable<Entry | undefined> {
    return andThen(this.#find(task, name), entryFound);
  }

  #find(task: Task, name: string): Awaitable<Search> {
    const folded = this.#isFolded() ? utf8_casefold(name) : undefined;
    const search = new Search(name, folded, this.#keyOf(folded ?? name));
    return andThen(this.tree.walk(task, search.first, compare, search), ended, search);
  }

  /**
   * Add a name. With i_rwsem held exclusively.
   * @throws EEXIST; ENOSPC for a block of the tree, or where 256 names have one hash; EIO
   */
  add(task: Task, handle: Handle, name: string, ino: number, type: number): Awaitable<void> {
    return andThen(this.#find(task, name), addFree, this.tree, task, handle, ino, type);
  }

  /** Take a name out. With i_rwsem held exclusively. @throws ENOENT, EIO */
  remove(task: Task, handle: Handle, name: string): Awaitable<void> {
    return andThen(this.#find(task, name), removeFound, this.tree, task, handle);
  }

  /** Let a name stand for another inode. With i_rwsem held exclusively. @throws ENOENT, EIO */
  set(task: Task, handle: Handle, name: string, ino: number, type: number): Awaitable<void> {
    return andThen(this.#find(task, name), setFound, this.tree, task, handle, ino, type);
  }

  /**
   * Emit the entries whose key is not below `from`, in order, until `emit` returns false. With i_rwsem held.
   * @returns false where it did
   * @throws EIO
   */
  list(
    task: Task,
    from: number,
    emit: (name: string, ino: number, type: number, key: number) => boolean,
  ): Awaitable<boolean> {
    return this.tree.walk(task, from, (data, at, key) => {
      const { ino, type } = entryAt(data, at);
      return emit(nameAt(data, at), ino, type, key);
    });
  }

  /** Whether it has no entry. With i_rwsem held. @throws EIO */
  isEmpty(task: Task): Awaitable<boolean> {
    return this.tree.isEmpty(task);
  }
}
