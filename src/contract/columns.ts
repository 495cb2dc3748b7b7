/** The columns of each section's table, in the order and in the words in which the document prints them. */
import type { Section } from './row.js';

/** Column names by section; empty where the section states its rules in prose only. The column of operations is left out. */
export const COLUMNS = {
  dentry_operations: ['rename_lock', '->d_lock', 'may block', 'rcu-walk'],
  inode_operations: ['i_rwsem(inode)'],
  xattr_handler: ['i_rwsem(inode)'],
  super_operations: ['s_umount', 'note'],
  file_system_type: ['may block'],
  address_space_operations: ['folio locked', 'i_rwsem', 'invalidate_lock'],
  file_lock_operations: ['inode->i_lock', 'may block'],
  lock_manager_operations: ['flc_lock', 'blocked_lock_lock', 'may block'],
  buffer_head: [],
  block_device_operations: ['open_mutex'],
  file_operations: [],
  dquot_operations: ['FS recursion', 'Held locks when called'],
  vm_operations_struct: ['mmap_lock', 'PageLocked(page)'],
} as const satisfies Record<Section, readonly string[]>;

/** The sections in the order of the document. */
export const SECTIONS = [
  'dentry_operations',
  'inode_operations',
  'xattr_handler',
  'super_operations',
  'file_system_type',
  'address_space_operations',
  'file_lock_operations',
  'lock_manager_operations',
  'buffer_head',
  'block_device_operations',
  'file_operations',
  'dquot_operations',
  'vm_operations_struct',
] as const satisfies readonly Section[];

/** What the document says of all operations of a section at once, where it says something. */
export const BLOCKING: Readonly<Partial<Record<Section, string>>> = {
  inode_operations: 'all may block',
  xattr_handler: 'all may block',
  super_operations: 'All may block [not true, see below]',
  address_space_operations: 'All except dirty_folio and free_folio may block',
  file_operations: 'All may block',
};

/** Operations that have a prototype and no row in their section's table. */
export const WITHOUT_ROW: Readonly<Partial<Record<Section, readonly string[]>>> = {
  inode_operations: ['truncate'],
};
