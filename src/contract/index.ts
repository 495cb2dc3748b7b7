/**
 * The locking document as data: one object a section, one row an operation. Nothing else in the tree states a lock
 * rule; whoever calls an operation, checks it, prints it or counts it reads it here. Imports nothing from the other layers.
 */
import { address_space_operations } from './address-space.js';
import { block_device_operations } from './block-device.js';
import { buffer_head } from './buffer-head.js';
import { SECTIONS } from './columns.js';
import { dentry_operations } from './dentry.js';
import { dquot_operations } from './dquot.js';
import { file_operations } from './file.js';
import { file_lock_operations } from './file-lock.js';
import { file_system_type } from './file-system-type.js';
import { inode_operations } from './inode.js';
import { lock_manager_operations } from './lock-manager.js';
import type { Row, Section } from './row.js';
import { super_operations } from './super.js';
import { vm_operations_struct } from './vm.js';
import { xattr_handler } from './xattr.js';

export { BLOCKING, COLUMNS, SECTIONS } from './columns.js';
export type { LockName, LockRule, ProseRule, ReturnState, Row, RuleMode, Section } from './row.js';
export {
  address_space_operations,
  block_device_operations,
  buffer_head,
  dentry_operations,
  dquot_operations,
  file_lock_operations,
  file_operations,
  file_system_type,
  inode_operations,
  lock_manager_operations,
  super_operations,
  vm_operations_struct,
  xattr_handler,
};

/** Every row by section and operation. */
export const CONTRACT = {
  dentry_operations,
  inode_operations,
  xattr_handler,
  super_operations,
  file_system_type,
  address_space_operations,
  file_lock_operations,
  lock_manager_operations,
  buffer_head,
  block_device_operations,
  file_operations,
  dquot_operations,
  vm_operations_struct,
} as const satisfies Record<Section, Record<string, Row>>;

/** Every row in the order of the document: of its tables, and of its prototypes where a section has no table. */
export const ALL_ROWS: readonly Row[] = Object.freeze(
  SECTIONS.flatMap((section): Row[] => Object.values(CONTRACT[section])),
);

/** The rows of one section, in the order of the document. */
export function rowsOfSection(section: Section): readonly Row[] {
  return Object.values(CONTRACT[section]);
}

/**
 * The row of `section.op`, or of an operation's name alone, in which case the first section of the document that has
 * it wins; undefined where there is none. `findRows` gives all of them.
 */
export function findRow(name: string): Row | undefined {
  return findRows(name)[0];
}

/** Every row of that name: one for `section.op`, and one for each section that has the operation for a bare name. */
export function findRows(name: string): readonly Row[] {
  return ALL_ROWS.filter((row) => row.op === name || `${row.section}.${row.op}` === name);
}
