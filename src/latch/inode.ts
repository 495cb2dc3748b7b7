/** Inodes of latch in memory: reading them from the device, and writing them back. */

import type { BlockDevice } from '../block/block-device.js';
import { brelse } from '../block/buffer.js';
import { sb_bread } from '../block/buffer-cache.js';
import { BLOCK_SIZE } from '../block/buffer-head.js';
import { generic_ci_dentry_ops, IS_CASEFOLDED } from '../fs/casefold.js';
import { iget_failed, iget_locked, unlock_new_inode } from '../fs/icache.js';
import {
  I_NEW,
  Inode,
  i_size_init,
  inode_init,
  inode_state_change,
  S_APPEND,
  S_CASEFOLD,
  S_DIRSYNC,
  S_IMMUTABLE,
  S_NOATIME,
  S_NOQUOTA,
  S_SYNC,
} from '../fs/inode.js';
import { RwSem } from '../locking/rwsem.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import {
  FS_APPEND_FL,
  FS_CASEFOLD_FL,
  FS_DIRSYNC_FL,
  FS_IMMUTABLE_FL,
  FS_NOATIME_FL,
  FS_SECRM_FL,
  FS_SYNC_FL,
} from '../uapi/fs.js';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../uapi/stat.js';
import { BODY_BYTES, BTree, type TreeHost } from './btree/tree.js';
import { giveBlocks, takeBlocks } from './charge.js';
import { Directory, dir_format } from './dir.js';
import { ExtentTree, extent_format } from './extents.js';
import { AREA_SIZE, areaOf, decodeInode, inodeIsSealed } from './format/inode.js';
import { INODE_SIZE, INODES_PER_BLOCK } from './format/layout.js';
import { checksumSeed, emptyRoot, KIND_DIRECTORY, KIND_EXTENTS } from './format/tree.js';
import { infoOf, type LatchInfo } from './info.js';
import { fillFrom, seedOf } from './inode-disk.js';
import type { Handle } from './journal/types.js';

/** The nesting level of i_data_sem of quota files (I_DATA_SEM_QUOTA). */
const I_DATA_SEM_QUOTA = 2;

/** An area with the root of an empty tree. */
function emptyArea(kind: number): Buffer {
  const area = Buffer.alloc(AREA_SIZE);
  emptyRoot(area, kind);
  return area;
}

const NO_ENTRIES = emptyArea(KIND_DIRECTORY);
const NO_EXTENTS = emptyArea(KIND_EXTENTS);

export class LatchInode extends Inode {
  /** FS_*_FL. */
  flags = 0;
  xattrBlock = 0;
  /** The directory that a directory is in. */
  parent = 0;
  /** Next in the orphan list. */
  nextOrphan = 0;
  /** Bytes that are safe on the device: i_size once everything is written. Changed under handles only. */
  i_disksize = 0;
  /** Blocks that writeback has mapped behind the end on the device end here, exclusive; Infinity where the device says that there are some. See eof-blocks.ts. */
  eofEnd = 0;
  /** Pages that have promised blocks and none yet; i_blocks counts them. */
  delayed = 0;
  /** Blocks that were promised to its tree for them. */
  promisedNodes = 0;
  /** It was cut to nothing: its data are written when it is closed (EXT4_STATE_DA_ALLOC_CLOSE). */
  da_alloc_close = false;
  /** The last transactions that have changed it, and what fdatasync must wait for. */
  i_sync_tid = 0;
  i_datasync_tid = 0;
  /** What its checksum begins with, once that was asked for. */
  seed: number | undefined;
  #area: Buffer | undefined;
  #freed = false;
  #extents: ExtentTree | undefined;
  #xattr_sem: RwSem<'xattr_sem'> | undefined;
  #directory: Directory | undefined;

  /** Whether writeback has mapped blocks behind the end that the file has on the device, and nobody has asked for them. */
  get has_eof_blocks(): boolean {
    return this.eofEnd > Math.ceil(this.i_disksize / BLOCK_SIZE);
  }

  /** The root of the tree of its type as it was read from the device. */
  set area(area: Buffer) {
    this.#area = area;
  }

  /** It is taken apart: what asks for its data from now on asks too late. */
  free(): void {
    this.#freed = true;
    this.#area = this.#extents = this.#directory = undefined;
  }

  /** The root of its tree: made when it is first asked for, because many files never have any data. @throws EIO where the inode was freed */
  get area(): Buffer {
    if (this.#freed) throw errno('EIO', `inode ${this.i_ino} is used after it was freed`);
    this.#area ??= Buffer.from((this.i_mode & S_IFMT) === S_IFDIR ? NO_ENTRIES : NO_EXTENTS);
    return this.#area;
  }

  /**
   * Put the area into the inode's bytes: the root of its tree, the target of a symlink that is short enough, or nothing.
   * @param at where the area begins
   */
  writeArea(to: Buffer, at: number): void {
    const type = this.i_mode & S_IFMT;
    if (this.i_link !== undefined && this.i_link.length <= AREA_SIZE) {
      to.fill(0, at, at + AREA_SIZE);
      to.write(this.i_link, at, 'latin1');
    } else if (this.#area !== undefined) to.set(this.#area, at);
    else if (type === S_IFDIR) to.set(NO_ENTRIES, at);
    else if (type === S_IFREG || type === S_IFLNK) to.set(NO_EXTENTS, at);
    else to.fill(0, at, at + AREA_SIZE);
  }

  /** Whether it has a tree of extents with something in it, perhaps: a file with data, or a symlink longer than the area. */
  get mayHaveExtents(): boolean {
    return this.#area !== undefined && (this.i_mode & S_IFMT) !== S_IFDIR;
  }

  /** Its extended attributes are read and changed under it. */
  get xattr_sem(): RwSem<'xattr_sem'> {
    this.#xattr_sem ??= new RwSem('xattr_sem');
    return this.#xattr_sem;
  }

  /** The extents of a file, or of a long symlink. @throws EIO where the root is damaged */
  get extents(): ExtentTree {
    if (this.#extents === undefined) {
      const subclass = (this.i_flags & S_NOQUOTA) === 0 ? 0 : I_DATA_SEM_QUOTA;
      const tree = new BTree(new InodeTree(this), extent_format, this.area);
      this.#extents = new ExtentTree(tree, new RwSem('i_data_sem'), subclass);
    }
    return this.#extents;
  }

  /** The entries of a directory. @throws EIO where the root is damaged */
  get directory(): Directory {
    this.#directory ??= new Directory(
      new BTree(new InodeTree(this), dir_format, this.area),
      infoOf(this.i_sb).keyOf,
      () => (this.flags & FS_CASEFOLD_FL) !== 0,
    );
    return this.#directory;
  }
}

/** The tree in an inode's area. Who changes it marks the inode dirty in the same handle: its blocks and i_blocks change with it. */
class InodeTree implements TreeHost {
  readonly bdev: BlockDevice;
  readonly ino: number;
  readonly seed: number;
  readonly unchecked: boolean;
  readonly bodyBytes = BODY_BYTES;
  readonly #inode: LatchInode;

  constructor(inode: LatchInode) {
    const info = infoOf(inode.i_sb);
    this.#inode = inode;
    this.bdev = info.bdev;
    this.ino = inode.i_ino;
    this.unchecked = !info.checked;
    // A new file has no node yet: without checksums its seed is never asked for.
    this.seed = info.checked ? checksumSeed(info.super.uuid, inode.i_ino, inode.i_generation) : 0;
  }

  async allocate(task: Task, handle: Handle, goal: number | undefined): Promise<number> {
    const inode = this.#inode;
    const near = goal ?? Math.floor(inode.i_ino / INODES_PER_BLOCK);
    // What maps data that were promised room comes with them.
    const ofData = !this.#isDirectory;
    const { start } = await takeBlocks(task, handle, inode, 1, near, { nofail: ofData, promised: ofData });
    this.#grow(1);
    return start;
  }

  async free(task: Task, handle: Handle, block: number): Promise<void> {
    await giveBlocks(task, handle, this.#inode, { start: block, length: 1 });
    this.#grow(-1);
  }

  get #isDirectory(): boolean {
    return (this.#inode.i_mode & S_IFMT) === S_IFDIR;
  }

  /** The size of a directory is that of its blocks. */
  #grow(blocks: number): void {
    if (this.#isDirectory) i_size_init(this.#inode, this.#inode.i_size + blocks * BLOCK_SIZE);
  }

  root_access(): void {}

  root_changed(): void {}
}

/** The same inode, with what this filesystem keeps of it (EXT4_I). @throws EIO for one of another filesystem */
export function latchInode(inode: Inode): LatchInode {
  if (inode instanceof LatchInode) return inode;
  throw errno('EIO', 'an inode of another filesystem');
}

/** i_flags as the FS_*_FL say. @param attrs where they are set: inode_attrs, or inode_init of one that is being made or read */
export function applyFlags(inode: LatchInode, attrs: { i_flags: number }): void {
  const has = (flag: number, bit: number): number => ((inode.flags & flag) !== 0 ? bit : 0);
  attrs.i_flags =
    (inode.i_flags & ~(S_SYNC | S_DIRSYNC | S_APPEND | S_IMMUTABLE | S_NOATIME | S_CASEFOLD)) |
    has(FS_SYNC_FL, S_SYNC) |
    has(FS_DIRSYNC_FL, S_DIRSYNC) |
    has(FS_APPEND_FL, S_APPEND) |
    has(FS_IMMUTABLE_FL, S_IMMUTABLE) |
    has(FS_NOATIME_FL, S_NOATIME) |
    has(FS_CASEFOLD_FL, S_CASEFOLD);
  // From the first such directory on, new names of the filesystem do as their directories say.
  if (IS_CASEFOLDED(inode)) inode.i_sb.s_d_op = generic_ci_dentry_ops;
}

/** The page cache operations of a file, by its flags (ext4_set_aops). */
export function set_aops(inode: LatchInode): void {
  const { file } = infoOf(inode.i_sb).operations;
  inode.a_ops = (inode.flags & FS_SECRM_FL) !== 0 ? file.secret_aops : file.a_ops;
}

/** Give an inode the operations of its type. */
export function setOps(inode: LatchInode): void {
  const { dir, file, symlink, special } = infoOf(inode.i_sb).operations;
  const type = inode.i_mode & S_IFMT;
  if (type === S_IFDIR) {
    inode.i_op = dir.i_op;
    inode.i_fop = dir.i_fop;
  } else if (type === S_IFREG) {
    inode.i_op = file.i_op;
    inode.i_fop = file.i_fop;
    set_aops(inode);
  } else inode.i_op = type === S_IFLNK ? symlink : special;
}

/**
 * The inode of that number, with a reference. At once where it is in memory.
 * @throws ESTALE where it is free, or has no links without being the orphan that is dealt with: whoever lets go of it would delete it; EIO
 */
export function latch_iget(task: Task, info: LatchInfo, ino: number): Awaitable<LatchInode> {
  return andThen(iget_locked(task, info.sb, ino), readIfNew, task, info);
}

function readIfNew(found: Inode, task: Task, info: LatchInfo): Awaitable<LatchInode> {
  const inode = latchInode(found);
  return (inode.i_state & I_NEW) === 0 ? inode : readInode(task, info, inode);
}

/**
 * An inode that the filesystem keeps for itself: it is in no hash, so that nobody else finds it, and nobody is charged for it.
 * @throws ESTALE where it is free; EIO
 */
export async function latch_iget_hidden(task: Task, info: LatchInfo, ino: number): Promise<LatchInode> {
  const inode = new LatchInode(info.sb);
  inode.i_ino = ino;
  inode_state_change(task, inode, I_NEW);
  await readInode(task, info, inode);
  inode_init(inode).i_flags |= S_NOQUOTA;
  return inode;
}

async function readInode(task: Task, info: LatchInfo, inode: LatchInode): Promise<LatchInode> {
  try {
    const block = Math.floor(inode.i_ino / INODES_PER_BLOCK);
    if (!(await info.inodes.holdsInodes(task, block))) throw errno('ESTALE', `inode ${inode.i_ino}`);
    const bh = await sb_bread(task, info.bdev, block);
    const at = (inode.i_ino % INODES_PER_BLOCK) * INODE_SIZE;
    const bytes = Buffer.from(bh.b_data.subarray(at, at + INODE_SIZE));
    brelse(bh);
    const disk = decodeInode(bytes);
    if (disk.mode === 0) throw errno('ESTALE', `inode ${inode.i_ino}`);
    if (info.checked && !inodeIsSealed(bytes, seedOf(info, inode))) {
      throw errno('EIO', `the checksum of inode ${inode.i_ino} is wrong`);
    }
    if (disk.nlink === 0 && inode.i_ino !== info.super.orphan) {
      throw errno('ESTALE', `inode ${inode.i_ino} has no links`);
    }
    if ((disk.mode & S_IFMT) === S_IFREG && disk.size > info.sb.s_maxbytes) {
      throw errno('EIO', `inode ${inode.i_ino} is larger than a file can be`);
    }
    fillFrom(inode, disk);
    // It may have been changed and left memory since the last commit: fsync is to find that out.
    inode.i_sync_tid = inode.i_datasync_tid = info.journal.tid;
    applyFlags(inode, inode_init(inode));
    setOps(inode);
    const area = areaOf(bytes);
    const type = disk.mode & S_IFMT;
    if (type === S_IFLNK && disk.size <= AREA_SIZE) inode.i_link = area.toString('latin1', 0, disk.size);
    else if (type === S_IFDIR || type === S_IFREG || type === S_IFLNK) inode.area = area;
    unlock_new_inode(task, inode);
    return inode;
  } catch (error) {
    iget_failed(task, inode);
    throw error;
  }
}
