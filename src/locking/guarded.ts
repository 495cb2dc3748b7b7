/**
 * Guarded state: fields that may be touched only with their lock. Each is declared once with the lock that guards it; who touches it says so with
 * the lock at hand, which is checked where checks are on and noted where somebody records (the base of `latchfs contract --observed`). Where the
 * guard itself is at hand, `Guarded` demands it by its type.
 */
import type { LockName } from '../contract/row.js';
import type { Task } from '../sched/task.js';
import { type Exclusive, type Held, heldBy, type Shared } from './held.js';

/** A kind of guarded state, whoever's it is. */
export interface GuardedField<L extends LockName = LockName> {
  /** As the kernel names it: 'inode.i_size'. */
  readonly name: string;
  /** The locks that guard it; holding one of them is enough. */
  readonly locks: readonly L[];
  /** It may be read without a lock: by a sequence count, or because a stale value does no harm. */
  readonly lockless: boolean;
  /** What the lock is for, in a few words. */
  readonly why: string;
}

const field = <const L extends LockName>(
  name: string,
  locks: readonly L[],
  why: string,
  reading: 'lockless' | 'locked' = 'locked',
): GuardedField<L> => ({ name, locks, why, lockless: reading === 'lockless' });

/** All guarded state that this system checks. */
export const GUARDED = {
  i_size: field(
    'inode.i_size',
    ['i_rwsem'],
    'writers and truncation exclude each other; readers use the sequence count',
    'lockless',
  ),
  i_state: field('inode.i_state', ['i_lock'], 'an inode is used again or goes away, not both', 'lockless'),
  i_io_list: field(
    'inode.i_io_list',
    ['i_lock'],
    'on which list an inode waits to be written changes together with whether it is dirty',
    'lockless',
  ),
  i_links: field('inode.i_nlink', ['i_rwsem'], 'a file gets and loses its names while it is locked', 'lockless'),
  i_attr: field('inode attributes', ['i_rwsem'], 'owner, mode and flags change together', 'lockless'),
  xattrs: field(
    'extended attributes',
    ['i_rwsem'],
    'what is checked about them is true when they are changed',
    'lockless',
  ),
  dotdot: field(
    'the parent of a directory',
    ['s_vfs_rename_sem'],
    'of directories that change parent one moves at a time',
    'lockless',
  ),
  dir_entries: field('directory entries', ['i_rwsem'], 'names are looked up shared and changed exclusively'),
  page_tree: field('address_space.i_pages', ['folio'], 'a folio enters and leaves the tree locked', 'lockless'),
  folio_dirty: field(
    'folio.dirty',
    ['folio', 'page_table_lock'],
    'a folio that is dirtied must not be truncated meanwhile',
    'lockless',
  ),
  folio_private: field(
    'folio.private',
    ['folio'],
    'what a filesystem keeps with a folio is looked at and dropped by one at a time',
  ),
  bh_uptodate: field(
    'buffer_head.uptodate',
    ['bh'],
    'who has waited for the lock of a buffer finds out how reading it went',
    'lockless',
  ),
  folio_writeback: field('folio.writeback', ['folio'], 'writeback begins on a locked folio', 'lockless'),
  flc_lists: field('file_lock_context lists', ['flc_lock'], 'locks of a file are compared and inserted in one step'),
  blocked_locks: field(
    'file_lock.flc_blocked_requests',
    ['blocked_lock_lock'],
    'who waits for whom does not change while it is looked at',
  ),
  d_name: field(
    'dentry.d_name and d_parent',
    ['rename_lock'],
    'who looks at names looks again when one has changed meanwhile',
  ),
  d_place: field('the name and place of a dentry', ['d_lock'], 'who holds d_lock sees a dentry in one place'),
  d_hash: field(
    'whether a dentry is hashed',
    ['d_lock'],
    'whoever has locked a dentry knows whether others find it',
    'lockless',
  ),
  d_siblings: field(
    'the names of a directory in memory',
    ['i_rwsem'],
    'a name moves with both directories locked, so that nobody looks it up in between',
  ),
  i_dentry: field('inode.i_dentry', ['i_lock'], 'a name is added to those of an inode while nobody walks them'),
  under_rcu: field('what is seen without a reference', ['rcu'], 'it does not go away while somebody looks at it'),
  d_inode: field('dentry.d_inode', ['d_lock'], 'a dentry becomes positive or negative in one step', 'lockless'),
  changes: field(
    'what a freeze keeps still',
    ['s_writers'],
    'who changes something comes in as a writer before it locks anything, so that a freeze waits for nobody who waits for it',
  ),
  frozen: field(
    'sb_writers.frozen',
    ['s_umount'],
    'one task at a time freezes, thaws, remounts or unmounts',
    'lockless',
  ),
  still: field(
    'a filesystem that stands still',
    ['s_writers'],
    'what freeze_fs has brought to the device is not changed before unfreeze_fs has said so there',
  ),
  s_inodes: field('the inodes of a superblock as a whole', ['s_umount'], 'it is not unmounted meanwhile'),
  s_flags: field(
    'super_block.s_flags',
    ['s_umount'],
    'mounting, remounting and unmounting exclude each other',
    'lockless',
  ),
  mounts: field('mnt_namespace.mounts', ['namespace_sem'], 'what is shown of a mount stays mounted meanwhile'),
  bd_openers: field(
    'block_device.bd_openers',
    ['open_mutex'],
    'a device is opened by the first and closed by the last',
  ),
  f_pos: field(
    'file.f_pos',
    ['f_pos_lock'],
    'those who share an open directory list it one after the other',
    'lockless',
  ),
  s_on_disk: field(
    'the superblock on the device',
    ['s_umount'],
    'freezing, remounting and unmounting exclude each other',
  ),
  filling: field(
    'pages that are filled',
    ['invalidate_lock'],
    'blocks do not go away while pages are filled from them',
  ),
  dio_blocks: field(
    'the blocks under direct I/O',
    ['i_rwsem'],
    'while a device uses the blocks of a file they do not go, and no other write maps some or moves its end',
  ),
  copied: field('data that are copied or remapped', ['i_rwsem'], 'no write changes them meanwhile'),
  mapped_stores: field('pages that mappings store to', ['invalidate_lock'], 'none becomes writable meanwhile'),
  vma: field('vm_area_struct', ['mmap_lock'], 'an area is not unmapped while a fault is handled in it'),
  pte: field('page tables', ['page_table_lock'], 'an entry is looked at and replaced in one step', 'lockless'),
  swap_map: field('swap_map', ['swap_lock'], 'a slot is found free and taken in one step', 'lockless'),
  dquot: field('dquot usage and limits', ['dq_data_lock'], 'what is asked for is checked and added in one step'),
  i_dquot: field(
    'inode.i_dquot',
    ['dqptr_sem', 'dq_data_lock'],
    'an inode is charged to those to whom it belongs at that moment',
  ),
  dquot_on: field(
    'quotas in use',
    ['dqonoff_sem', 'dqptr_sem'],
    'a quota is not switched off while it is read or written',
  ),
  dq_state: field('a dquot as it is read and written', ['dq_lock'], 'one task at a time reads or writes it'),
  quota_file: field('the quota file', ['dqio_sem'], 'its tree changes in one step'),
} as const satisfies Record<string, GuardedField>;

/** A lock that guards something. */
interface GuardLock<L extends LockName> {
  readonly name: L;
}

/**
 * About to change guarded state: one of `locks` must be held exclusively.
 * @returns whether one is; a violation is reported where none is
 */
export function guard_write<L extends LockName>(
  task: Task,
  guarded: GuardedField<L>,
  first: GuardLock<L>,
  second?: GuardLock<L>,
): boolean {
  const { validator } = task;
  if (!validator.checking) return true;
  if (validator.observer !== undefined) {
    validator.observer.accessed(task, guarded.name, true, behind(task, first, second, true));
  }
  if (heldBy(task, first)?.exclusive === true) return true;
  if (second !== undefined && heldBy(task, second)?.exclusive === true) return true;
  touched(task, guarded, first, 'changed', 'exclusively');
  return false;
}

/** About to read guarded state: one of `locks` must be held, unless the state may be read without. As guard_write. */
export function guard_read<L extends LockName>(
  task: Task,
  guarded: GuardedField<L>,
  first: GuardLock<L>,
  second?: GuardLock<L>,
): boolean {
  const { validator } = task;
  if (!validator.checking) return true;
  if (validator.observer !== undefined) {
    validator.observer.accessed(task, guarded.name, false, behind(task, first, second, false));
  }
  if (guarded.lockless || heldBy(task, first) !== undefined) return true;
  if (second !== undefined && heldBy(task, second) !== undefined) return true;
  touched(task, guarded, first, 'read', 'at least shared');
  return false;
}

/** Behind which of the two locks state is touched: the first, unless only the second is held as it must be. */
function behind(task: Task, first: object, second: object | undefined, write: boolean): object {
  if (second === undefined) return first;
  const held = heldBy(task, first);
  return held !== undefined && (held.exclusive || !write) ? first : second;
}

function touched(
  task: Task,
  guarded: GuardedField,
  lock: { readonly name: LockName },
  what: string,
  how: string,
): void {
  const { row } = task;
  task.validator.violation(task, 'guarded-state', {
    message: `${guarded.name} is ${what} without ${guarded.locks.join(' or ')} held ${how}: ${guarded.why}`,
    rule: `guarded#${guarded.name}`,
    lock: lock.name,
    held: [...task.held],
    ...(row === undefined ? {} : { row }),
  });
}

/**
 * A value that can be had only with the guard of its lock: reading takes any guard, changing an exclusive one, and either must be of this very
 * lock and not given back yet.
 */
export class Guarded<T, L extends LockName> {
  readonly #lock: GuardLock<L>;
  readonly #field: GuardedField<L>;
  #value: T;

  constructor(lock: GuardLock<L>, guarded: GuardedField<L>, value: T) {
    this.#lock = lock;
    this.#field = guarded;
    this.#value = value;
  }

  /** @param held the guard of the lock, shared or exclusive */
  get(held: Shared<L>): T {
    this.#check(held, false);
    return this.#value;
  }

  /** @param held the guard of the lock, exclusive */
  set(value: T, held: Exclusive<L>): void {
    this.#check(held, true);
    this.#value = value;
  }

  /** Change what it holds in place, under the exclusive guard. */
  update<R>(held: Exclusive<L>, change: (value: T) => R): R {
    this.#check(held, true);
    return change(this.#value);
  }

  /** A value that may be stale (READ_ONCE). */
  peek(): T {
    return this.#value;
  }

  #check(held: Held<L>, write: boolean): void {
    const { task } = held;
    if (task === undefined) return;
    const { validator } = task;
    if (!validator.checking) return;
    if (validator.observer !== undefined) validator.observer.accessed(task, this.#field.name, write, this.#lock);
    if (held.released || (held.lock as object) !== this.#lock)
      touched(task, this.#field, this.#lock, write ? 'changed' : 'read', 'by that guard');
  }
}
