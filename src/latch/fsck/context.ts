/** What a check of a filesystem has found so far. */
import type { BlockDevice } from '../../block/block-device.js';
import type { Task } from '../../sched/task.js';
import { isSet, setBit } from '../bitmap.js';
import type { DiskInode } from '../format/inode.js';
import { GROUP_BLOCKS, GROUP_HEAD } from '../format/layout.js';
import { INCOMPAT_CSUM, type Superblock } from '../format/superblock.js';

/** An inode that is in use, and what the rest of the filesystem says of it. */
export interface Seen {
  readonly ino: number;
  readonly disk: DiskInode;
  /** Of a directory: the root of its tree. */
  readonly area: Buffer | undefined;
  /** Names that were found. */
  names: number;
  /** Of a directory: directories in it. */
  subdirectories: number;
  /** Of a directory: the directory that its name is in. */
  foundIn: number | undefined;
  /** On the orphan list. */
  orphan: boolean;
}

export class FsckContext {
  readonly task: Task;
  readonly bdev: BlockDevice;
  readonly super: Superblock;
  readonly checked: boolean;
  readonly inodes = new Map<number, Seen>();
  /** Every block that something uses. */
  readonly #used: Uint8Array;
  /** For messages about blocks that two use: by whom, for those blocks that are no file's data. */
  readonly #owners = new Map<number, string>();
  readonly #report: (line: string) => void;
  problems = 0;

  constructor(task: Task, bdev: BlockDevice, superblock: Superblock, report: (line: string) => void) {
    this.task = task;
    this.bdev = bdev;
    this.super = superblock;
    this.checked = (superblock.incompat & INCOMPAT_CSUM) !== 0;
    this.#used = new Uint8Array(Math.ceil(superblock.blocks / 8));
    this.#report = report;
  }

  /** Something is wrong. @param where such as 'group 3' or 'inode 64' */
  problem(where: string, what: string): void {
    this.problems++;
    this.#report(`${where}: ${what}`);
  }

  /**
   * Blocks are used by `owner`. Those out of range, or in use already, are told.
   * @returns false where one of them cannot be its
   */
  claim(owner: string, start: number, length: number, metadata = false): boolean {
    let good = true;
    for (let block = start; block < start + length; block++) {
      if (block <= 0 || block >= this.super.blocks) {
        this.problem(owner, `block ${block} lies beyond the end of the device`);
        return false;
      }
      if (block % GROUP_BLOCKS < GROUP_HEAD && owner !== 'head') {
        this.problem(owner, `block ${block} is part of the head of a group`);
        good = false;
      } else if (isSet(this.#used, block)) {
        const other = this.#owners.get(block);
        this.problem(owner, `block ${block} is in use already${other === undefined ? '' : ` (${other})`}`);
        good = false;
      } else {
        setBit(this.#used, block);
        if (metadata) this.#owners.set(block, owner);
      }
    }
    return good;
  }

  /** The heads of the groups, which nobody else may have. */
  claimHead(block: number, length: number): void {
    for (let n = block; n < Math.min(block + length, this.super.blocks); n++) setBit(this.#used, n);
  }

  isUsed(block: number): boolean {
    return isSet(this.#used, block);
  }
}
