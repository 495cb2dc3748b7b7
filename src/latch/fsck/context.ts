/** What a check of a filesystem has found so far, and how things shall be. Nothing here is written: see write.ts. */

import type { BlockDevice } from '../../block/block-device.js';
import { brelse } from '../../block/buffer.js';
import { sb_bread } from '../../block/buffer-cache.js';
import type { Task } from '../../sched/task.js';
import { FS_CASEFOLD_FL } from '../../uapi/fs.js';
import { BODY_BYTES, type TreeHost } from '../btree/tree.js';
import { type NameRules, nameRules } from '../dir.js';
import type { DiskInode } from '../format/inode.js';
import { GROUP_BLOCKS, GROUP_HEAD } from '../format/layout.js';
import { INCOMPAT_CSUM, type Superblock } from '../format/superblock.js';
import { checksumSeed } from '../format/tree.js';
import { nameKey } from '../names.js';
import { InodeTable } from './inode-table.js';
import { Usage } from './usage.js';

/** How bad a problem is: whether its repair can lose nothing and needs no choice. */
export type Severity = 'safe' | 'grave';

/** What was found, as it is told. */
export class Report {
  readonly #tell: (line: string) => void;
  problems = 0;
  /** Those whose repair may lose something. */
  grave = 0;
  /** Blocks that the device cannot read. */
  unreadable = 0;

  constructor(tell: (line: string) => void) {
    this.#tell = tell;
  }

  /** Something is wrong. @param where such as 'group 3' or 'inode 64' */
  problem(where: string, what: string, severity: Severity = 'grave'): void {
    this.problems++;
    if (severity === 'grave') this.grave++;
    this.#tell(`${where}: ${what}`);
  }
}

export class FsckContext {
  readonly task: Task;
  readonly bdev: BlockDevice;
  readonly super: Superblock;
  readonly checked: boolean;
  readonly inodes = new InodeTable();
  /** Slots that shall be free, by number. */
  readonly cleared = new Set<number>();
  /** Blocks of inodes; and those of them that are to be made. */
  readonly inodeBlocks = new Set<number>();
  readonly newInodeBlocks = new Set<number>();
  readonly usage: Usage;
  /** Where data that two files had shall be: copies to make, from the block that keeps it. */
  readonly copies: { readonly from: number; readonly to: number }[] = [];
  /** The lowest key of a name in a directory. */
  readonly keyOf: (name: string) => number;
  readonly #exact: NameRules;
  readonly #folded: NameRules;
  /** For messages about blocks that two use: by whom, for those blocks that are no file's data. */
  readonly #owners = new Map<number, string>();
  readonly #report: Report;

  constructor(task: Task, bdev: BlockDevice, superblock: Superblock, report: Report) {
    this.task = task;
    this.bdev = bdev;
    this.super = superblock;
    this.checked = (superblock.incompat & INCOMPAT_CSUM) !== 0;
    this.usage = new Usage(superblock.blocks);
    const hash = { k0: superblock.hashKey.readUInt32LE(0), k1: superblock.hashKey.readUInt32LE(4) };
    this.keyOf = (name) => nameKey(hash, name);
    this.#exact = nameRules(this.keyOf, false);
    this.#folded = nameRules(this.keyOf, true);
    this.#report = report;
  }

  /** How names are told apart in a directory with those flags (FS_*_FL). */
  rulesOf(flags: number): NameRules {
    return (flags & FS_CASEFOLD_FL) === 0 ? this.#exact : this.#folded;
  }

  /** Something is wrong. @param where such as 'group 3' or 'inode 64' */
  problem(where: string, what: string, severity: Severity = 'grave'): void {
    this.#report.problem(where, what, severity);
  }

  /** Block `block` of the device, copied. @returns undefined where it cannot be read, which is told */
  async read(block: number, where: string): Promise<Buffer | undefined> {
    try {
      const bh = await sb_bread(this.task, this.bdev, block);
      const bytes = Buffer.from(bh.b_data);
      brelse(bh);
      return bytes;
    } catch (error) {
      this.unreadable(where, block, error);
      return undefined;
    }
  }

  /** The device cannot read a block. */
  unreadable(where: string, block: number, error: unknown): void {
    this.#report.unreadable++;
    this.problem(where, `block ${block} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }

  /** A block of metadata that is `owner`'s. @returns false where it cannot be, which is told */
  claimMetadata(owner: string, block: number): boolean {
    const where = this.#placeProblem(block);
    if (where !== undefined) {
      this.problem(owner, where);
      return false;
    }
    const shared = this.usage.isUsed(block);
    const good = this.usage.claimMetadata(block);
    if (shared) this.#tellShared(owner, block);
    if (good) this.#owners.set(block, owner);
    return good;
  }

  /** A run of blocks of data. Those that something else has, or that cannot be data, are told: see shared.ts for what becomes of them. */
  claimData(owner: string, start: number, length: number): void {
    for (let block = start; block < start + length; block++) {
      if (this.usage.claimData(block)) continue;
      if (block % GROUP_BLOCKS < GROUP_HEAD) this.problem(owner, `block ${block} is part of the head of a group`);
      else this.#tellShared(owner, block);
    }
  }

  #tellShared(owner: string, block: number): void {
    const other = this.#owners.get(block);
    this.problem(owner, `block ${block} is in use already${other === undefined ? '' : ` (${other})`}`);
  }

  #placeProblem(block: number): string | undefined {
    if (block <= 0 || block >= this.super.blocks) return `block ${block} lies beyond the end of the device`;
    return block % GROUP_BLOCKS < GROUP_HEAD ? `block ${block} is part of the head of a group` : undefined;
  }

  /** Blocks that nobody may have: the heads of the groups, and what lies behind the last one. */
  claimHead(block: number, length: number): void {
    for (let n = block; n < Math.min(block + length, this.super.blocks); n++) this.usage.claimMetadata(n);
  }
}

function unchanged(): never {
  throw new Error('a check changes nothing');
}

/** The tree of an inode, to be read only. */
export function hostOf(context: FsckContext, ino: number, disk: DiskInode): TreeHost {
  return {
    bdev: context.bdev,
    ino,
    seed: checksumSeed(context.super.uuid, ino, disk.generation),
    unchecked: !context.checked,
    bodyBytes: BODY_BYTES,
    allocate: unchanged,
    free: unchanged,
    root_access: unchanged,
    root_changed: unchanged,
  };
}
