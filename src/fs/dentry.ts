/** struct dentry: a name in a directory, and what it names. */
import { GUARDED, guard_write } from '../locking/guarded.js';
import { SpinLock } from '../locking/spinlock.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { WaitQueue } from '../sched/wait.js';
import type { Inode } from './inode.js';
import type { LruEntry, Membership } from './lru.js';
import type { dentry_operations } from './operations.js';
import type { SuperBlock } from './super-block.js';

/** d_flags bits. */
export const DCACHE_DISCONNECTED = 1;
export const DCACHE_UNHASHED = 2;
export const DCACHE_REFERENCED = 4;
export const DCACHE_KILLED = 16;
/** The dentry is being looked up for the first time; others wait for it (DCACHE_PAR_LOOKUP). */
export const DCACHE_PAR_LOOKUP = 32;
/** Something is mounted on it. */
export const DCACHE_MOUNTED = 64;
/** Something is to be mounted on it when somebody walks into it. */
export const DCACHE_NEED_AUTOMOUNT = 128;
/** Its filesystem wants to be asked before anybody walks into it. */
export const DCACHE_MANAGE_TRANSIT = 256;
/** It stays for as long as its filesystem is mounted: with a reference that nobody gives back before. */
export const DCACHE_PERSISTENT = 512;
export const DCACHE_MANAGED_DENTRY = DCACHE_MOUNTED | DCACHE_NEED_AUTOMOUNT | DCACHE_MANAGE_TRANSIT;

/** A name that is being looked up for the first time, and by whom: others wait for that task. */
export interface InLookup {
  readonly dentry: Dentry;
  readonly task: Task;
}

export class Dentry implements LruEntry<Dentry> {
  readonly d_sb: SuperBlock;
  readonly d_lock = new SpinLock('d_lock');
  /** The name, bytes in latin1; '/' for a root or a dentry without a name. Changed under rename_lock and d_lock, by d_set_place alone. */
  readonly d_name: string;
  /** What it is found by among its siblings: the name, unless ->d_hash says otherwise. */
  d_key: string;
  /** Itself for a root. */
  readonly d_parent: Dentry;
  /** Undefined: a negative dentry, the name is known not to exist. Changed under d_lock, by d_set_inode alone. */
  readonly d_inode: Inode | undefined = undefined;
  d_op: dentry_operations;
  /** References; unused dentries are kept on an LRU list. */
  d_count = 1;
  d_flags = DCACHE_UNHASHED;
  /** Hashed children by name; made when there are any. */
  d_children: Map<string, Dentry> | undefined;
  /** The filesystem's own. */
  d_fsdata: object | undefined;
  lru_prev: Dentry | undefined;
  lru_next: Dentry | undefined;
  lru: Membership | undefined;
  /** Children that are being looked up for the first time, by key. */
  d_in_lookup: Map<string, InLookup> | undefined;
  /** Where others wait for its first lookup to end. */
  d_wait: WaitQueue | undefined;

  constructor(sb: SuperBlock, name: string, parent: Dentry | undefined, ops: dentry_operations) {
    this.d_sb = sb;
    this.d_lock.owner = this;
    this.d_name = name;
    this.d_key = name;
    this.d_parent = parent ?? this;
    this.d_op = ops;
  }

  get isNegative(): boolean {
    return this.d_inode === undefined;
  }

  get isRoot(): boolean {
    return this.d_parent === this;
  }
}

type Settable<T> = { -readonly [K in keyof T]: T[K] };

/** A dentry takes a name and a place (__d_move). d_lock is held, and rename_lock exclusively. */
export function d_set_place(task: Task, dentry: Dentry, name: string, key: string, parent: Dentry): void {
  guard_write(task, GUARDED.d_name, dentry.d_sb.rename_lock);
  guard_write(task, GUARDED.d_place, dentry.d_lock);
  const settable: Settable<Pick<Dentry, 'd_name' | 'd_parent'>> = dentry;
  settable.d_name = name;
  settable.d_parent = parent;
  dentry.d_key = key;
}

/** A dentry that nobody can find yet gets a name. */
export function d_init_name(dentry: Dentry, name: string): void {
  const settable: Settable<Pick<Dentry, 'd_name'>> = dentry;
  settable.d_name = name;
}

/** A dentry becomes positive or negative (__d_set_inode_and_type, __d_clear_type_and_inode). d_lock is held. */
export function d_set_inode(task: Task, dentry: Dentry, inode: Inode | undefined): void {
  guard_write(task, GUARDED.d_inode, dentry.d_lock);
  const settable: Settable<Pick<Dentry, 'd_inode'>> = dentry;
  settable.d_inode = inode;
}

/** What a dentry names. @throws ENOENT for a negative one */
export function inodeOf(dentry: Dentry): Inode {
  const { d_inode: inode } = dentry;
  if (inode === undefined) throw errno('ENOENT');
  return inode;
}
