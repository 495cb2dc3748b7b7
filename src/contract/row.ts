/** What a row of the locking document is. contract/ is that document as data; it may import nothing. */

export type Section =
  | 'dentry_operations'
  | 'inode_operations'
  | 'xattr_handler'
  | 'super_operations'
  | 'file_system_type'
  | 'address_space_operations'
  | 'file_lock_operations'
  | 'lock_manager_operations'
  | 'buffer_head'
  | 'block_device_operations'
  | 'file_operations'
  | 'dquot_operations'
  | 'vm_operations_struct';

/** Every lock that the document or this system names, spelt as the kernel spells it. */
export type LockName =
  | 'rename_lock'
  | 'd_lock'
  | 'i_rwsem'
  | 's_vfs_rename_sem'
  | 'i_lock'
  | 's_umount'
  | 'namespace_sem'
  | 'dqio_sem'
  | 'dqonoff_sem'
  | 'dqptr_sem'
  | 'dq_lock'
  | 'dq_data_lock'
  | 'folio'
  | 'invalidate_lock'
  | 'flc_lock'
  | 'blocked_lock_lock'
  | 'bh'
  | 'open_mutex'
  | 'swap_lock'
  | 'f_pos_lock'
  | 'mmap_lock'
  | 'page_table_lock'
  | 'rcu'
  | 's_writers'
  | 'j_barrier'
  | 'j_state_lock'
  | 'i_data_sem'
  | 'i_unwritten'
  | 'xattr_sem'
  | 'alloc_lock'
  | 's_orphan_lock'
  | 'fs_reclaim';

/** Locks whose holders may not sleep: of an operation that may block in some cases they say which case it is. */
export const NEVER_SLEEP: ReadonlySet<LockName> = new Set([
  'rcu',
  'd_lock',
  'i_lock',
  'flc_lock',
  'rename_lock',
  'swap_lock',
]);

/**
 * read: held shared, or stronger; write: held exclusively; none: must not be held; any: held, in whichever mode
 * (for a seqlock: inside a read section that retries, or as its writer).
 */
export type RuleMode = 'read' | 'write' | 'any' | 'none';

/** At return: still held, released by the operation (or by the I/O it began), acquired by it, or not held as at the call. */
export type ReturnState = 'held' | 'released' | 'acquired' | 'none';

/** One lock rule of one operation: which lock of which participant, how, who takes it, and what it is at return. */
export interface LockRule {
  /** `section.op/lock/of`, with `/variant` where several rules speak of one lock; unique in the whole contract. */
  readonly id: string;
  readonly lock: LockName;
  /** Whose lock: the role of the participant, for example 'inode', 'dir', 'victim', 'folio', 'mapping', 'sb', 'file'. */
  readonly of: string;
  readonly mode: RuleMode;
  /** The condition under which the rule holds, in a few words; absent where it always holds. */
  readonly when?: string;
  /** The last part of the id, where several rules of one operation speak of one lock of one role under different conditions. */
  readonly variant?: string;
  /** Rules of one operation with the same `oneOf` are alternatives: one of them must be met. */
  readonly oneOf?: string;
  /** Who takes the lock: the layer that calls the operation, or the operation itself. */
  readonly heldBy: 'caller' | 'operation';
  readonly atReturn: ReturnState;
}

/** A rule that the document states in prose: a name for it, and the words that locate it. */
export interface ProseRule {
  /** `section.op#name`. */
  readonly id: string;
  /** Where it is said: section and operation, in our own words. */
  readonly at: string;
  /** What it demands, in our own words. */
  readonly demands: string;
}

export interface Row {
  readonly section: Section;
  /** The operation as the document's table or prototype spells it. */
  readonly op: string;
  /** The C return type of the prototype; absent where the document prints no prototype. */
  readonly returns?: string;
  /** The C argument list of the prototype, normalised to single spaces; absent where the document prints none. */
  readonly prototype?: string;
  /** Column name → cell text, verbatim; a cell that the document leaves empty has no entry. */
  readonly cells: Readonly<Record<string, string>>;
  readonly mayBlock: 'yes' | 'no' | 'maybe';
  /** The condition of 'maybe', for example 'not in rcu-walk'. */
  readonly blockCondition?: string;
  /**
   * The operation of the section until which it may keep what it has locked for itself: a transaction that write_begin begins and write_end ends (ext4), a semaphore (ocfs2). The
   * document says nothing against it.
   */
  readonly keepsUntil?: string;
  /** Where it runs when that is not a task of its own: an I/O completion, or a callback after an RCU grace period. */
  readonly context?: 'completion' | 'rcu callback';
  /** In the order in which the locks are taken, outermost first; locks that must not be held last. */
  readonly rules: readonly LockRule[];
  readonly prose: readonly ProseRule[];
  /** From where it is reached. */
  readonly reach: readonly ('mount' | 'syscalls')[];
}
