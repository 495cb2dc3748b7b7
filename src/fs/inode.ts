/** struct inode: a file as the VFS knows it, whatever its name. */

import { GUARDED, guard_write } from '../locking/guarded.js';
import { RwSem } from '../locking/rwsem.js';
import { SpinLock } from '../locking/spinlock.js';
import { AddressSpace, type MappingHost } from '../mm/address-space.js';
import type { Bdi } from '../mm/backing-dev.js';
import type { address_space_operations } from '../mm/operations.js';
import type { Errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { EPOCH, type Timespec } from '../sched/time.js';
import type { WaitQueue } from '../sched/wait.js';
import { S_IFDIR, S_IFMT } from '../uapi/stat.js';
import type { Dentry } from './dentry.js';
import type { FileLockContext } from './locks/file-lock-context.js';
import type { LruEntry, Membership } from './lru.js';
import type { file_operations, inode_operations } from './operations.js';
import type { PosixAcl } from './posix-acl-types.js';
import type { Dquot } from './quota/types.js';
import type { SuperBlock } from './super-block.js';

/** i_state bits. */
export const I_NEW = 1;
export const I_DIRTY_SYNC = 2;
export const I_DIRTY_DATASYNC = 4;
export const I_DIRTY_PAGES = 8;
export const I_DIRTY_TIME = 16;
export const I_DIRTY = I_DIRTY_SYNC | I_DIRTY_DATASYNC | I_DIRTY_PAGES;
export const I_SYNC = 32;
export const I_FREEING = 64;
export const I_CLEAR = 128;
export const I_LINKABLE = 256;
/** The last reference is gone while the filesystem shuts down: it is being written, then freed. */
export const I_WILL_FREE = 512;
/** Used again since it came on the list of unused inodes. */
export const I_REFERENCED = 1024;
/** i_flags bits (S_*). */
export const S_SYNC = 1;
export const S_NOATIME = 2;
export const S_APPEND = 4;
export const S_IMMUTABLE = 8;
export const S_DEAD = 16;
/** Not counted for anybody's quota. */
export const S_NOQUOTA = 32;
export const S_DIRSYNC = 64;
/** In use for swapping: nobody else may change it. */
export const S_SWAPFILE = 256;
/** A directory whose names are without regard to case. */
export const S_CASEFOLD = 1 << 15;
/** It has no security.capability, so that a write need not look for one. */
export const S_NOSEC = 4096;

/** Nesting levels of i_rwsem, in the order in which they are taken (enum inode_i_mutex_lock_class). */
export const I_MUTEX_NORMAL = 0;
export const I_MUTEX_PARENT = 1;
export const I_MUTEX_CHILD = 2;
export const I_MUTEX_NONDIR2 = 4;
export const I_MUTEX_PARENT2 = 5;

export class Inode implements MappingHost, LruEntry<Inode> {
  readonly i_sb: SuperBlock;
  i_ino = 0;
  i_generation = 0;
  /** Type and permission bits. These four are changed with i_rwsem held exclusively, through inode_attrs; inode_init is for who makes or reads the inode. */
  readonly i_mode: number = 0;
  readonly i_uid: number = 0;
  readonly i_gid: number = 0;
  /** The project that it belongs to. */
  i_projid = 0;
  /** As i_mode, through inode_links. */
  readonly i_nlink: number = 1;
  /** Bytes. Changed under i_rwsem held exclusively, by i_size_write alone. */
  readonly i_size: number = 0;
  /** Blocks in use, in units of 512 bytes. */
  i_blocks = 0;
  i_rdev = 0;
  /** S_* bits; as i_mode. */
  readonly i_flags: number = 0;
  i_atime: Timespec = EPOCH;
  i_mtime: Timespec = EPOCH;
  i_ctime: Timespec = EPOCH;
  /** The i_ctime that a caller of stat has seen (I_CTIME_QUERIED): the next change must show a later one. */
  ctime_queried: Timespec | undefined;
  /** Birth time. */
  i_btime: Timespec = EPOCH;
  i_version = 0;
  i_op: inode_operations = {};
  i_fop: file_operations = {};
  readonly i_rwsem = new RwSem('i_rwsem');
  readonly i_lock = new SpinLock('i_lock');
  /** References; the inode may be evicted when there is none. */
  i_count = 1;
  /** I_* bits; changed under i_lock, by inode_state_assign alone. Whoever reads them without it may see what was true a moment ago. */
  readonly i_state: number = 0;
  /** When it was first dirtied, monotonic milliseconds. */
  dirtied_when = 0;
  /** When only times were dirtied first, monotonic milliseconds. */
  dirtied_time_when = 0;
  /** The writeback list that it is on; changed under i_lock, by WbLists alone. */
  readonly i_io_list: Set<Inode> | undefined = undefined;
  /** Where tasks wait for I_NEW, I_FREEING or I_SYNC to end; made when somebody does. */
  i_wait: WaitQueue | undefined;
  lru_prev: Inode | undefined;
  lru_next: Inode | undefined;
  lru: Membership | undefined;
  /** Writers minus denied writers. */
  i_writecount = 0;
  /** Open files that only read: a write lease wants to be alone. */
  i_readcount = 0;
  /** The target of a symlink, once known. */
  i_link: string | undefined;
  /** Cached ACLs; undefined: not looked at yet, null: there is none. */
  i_acl: PosixAcl | null | undefined;
  i_default_acl: PosixAcl | null | undefined;
  /** For whom it is charged, by type of quota; undefined: not looked up yet. */
  i_dquot: Dquot[] | undefined;
  i_flctx: FileLockContext | undefined;
  /** Dentries that name it. One element for nearly everything. */
  readonly i_dentry: Dentry[] = [];
  #mapping: AddressSpace | undefined;
  #aops: address_space_operations = {};

  constructor(sb: SuperBlock) {
    this.i_sb = sb;
    this.i_rwsem.owner = this;
  }

  /** The operations of its page cache: from the next call on. */
  set a_ops(ops: address_space_operations) {
    this.#aops = ops;
    if (this.#mapping !== undefined) this.#mapping.a_ops = ops;
  }

  /** Its pages; made when first asked for, because most inodes never have any. */
  get i_mapping(): AddressSpace {
    this.#mapping ??= new AddressSpace(this, this.#aops, this.i_sb.memory);
    return this.#mapping;
  }

  /** Its pages, if it ever had any. */
  get mappingIfAny(): AddressSpace | undefined {
    return this.#mapping;
  }

  /** See MappingHost. */
  get i_bdi(): Bdi | undefined {
    return this.i_sb.s_bdi;
  }

  /** See MappingHost. */
  note_wb_error(error: Errno): void {
    this.i_sb.s_wb_err.set(error);
  }

  /** See MappingHost. */
  mark_dirty_pages(task: Task): void {
    this.i_sb.inodeHasDirtyPages(task, this);
  }
}

/** Set the state of an inode (inode_state_assign). @param state I_* bits; i_lock is held */
export function inode_state_assign(task: Task, inode: Inode, state: number): void {
  guard_write(task, GUARDED.i_state, inode.i_lock);
  const settable: { i_state: number } = inode;
  settable.i_state = state;
}

/** Change some bits of the state (inode_state_set, inode_state_clear). Takes i_lock, for those who need it for nothing else. */
export function inode_state_change(task: Task, inode: Inode, set: number, clear = 0): void {
  using _lock = inode.i_lock.lock(task);
  inode_state_assign(task, inode, (inode.i_state & ~clear) | set);
}

/** Set the size of a file (i_size_write). @param size bytes; i_rwsem is held exclusively */
export function i_size_write(task: Task, inode: Inode, size: number): void {
  guard_write(task, GUARDED.i_size, inode.i_rwsem);
  i_size_init(inode, size);
}

/**
 * Set the size of what no write and no truncation reaches: an inode that is being read or made, a directory, whose blocks say how large it is, a quota file.
 * @param size bytes
 */
export function i_size_init(inode: Inode, size: number): void {
  const settable: { i_size: number } = inode;
  settable.i_size = size;
}

/** Fields of an inode that can be set. */
type Settable<K extends keyof Inode> = { -readonly [F in K]: Inode[F] };
type Attribute = 'i_mode' | 'i_uid' | 'i_gid' | 'i_flags';

/** Owner, mode and flags of an inode, to change: i_rwsem is held exclusively. */
export function inode_attrs(task: Task, inode: Inode): Settable<Attribute> {
  guard_write(task, GUARDED.i_attr, inode.i_rwsem);
  return inode;
}

/** How many names an inode has, to change: i_rwsem is held exclusively. */
export function inode_links(task: Task, inode: Inode): Settable<'i_nlink'> {
  guard_write(task, GUARDED.i_links, inode.i_rwsem);
  return inode;
}

/** What an inode that is being made or read begins with. It has no name yet, so that nobody else can see it. */
export function inode_init(inode: Inode): Settable<Attribute | 'i_nlink'> {
  const { validator } = inode.i_sb.machine;
  if (validator.checking && inode.i_dentry.length > 0) {
    validator.violation(undefined, 'guarded-state', {
      message: `inode ${inode.i_ino} has a name and is filled in as if it were new: ${GUARDED.i_attr.why}`,
      rule: `guarded#${GUARDED.i_attr.name}`,
      lock: 'i_rwsem',
    });
  }
  return inode;
}

/**
 * It was found to have no security.capability: that is noted (inode_has_no_xattr), unless somebody sets one now or has since.
 * @param since the i_ctime before anybody looked
 */
export function inode_set_nosec(task: Task, inode: Inode, since: Timespec): void {
  const writer = inode.i_rwsem.writer?.task;
  if (inode.i_ctime !== since || (writer !== undefined && writer !== task)) return;
  const settable: Settable<'i_flags'> = inode;
  settable.i_flags |= S_NOSEC;
}

/** A directory is removed: nothing is made or found in it any more (S_DEAD). i_rwsem is held exclusively. */
export function inode_set_dead(task: Task, inode: Inode): void {
  inode_attrs(task, inode).i_flags |= S_DEAD;
}

/** Whether it is a directory (S_ISDIR). */
export function isDir(inode: Inode): boolean {
  return (inode.i_mode & S_IFMT) === S_IFDIR;
}
