/** The operations of every type of inode: where they come together. */
import { dir_inode_operations, dir_operations } from './dir-ops.js';
import { file_aops, file_inode_operations, file_operations, secret_aops } from './file.js';
import type { OperationsByType } from './info.js';
import { special_inode_operations, symlink_inode_operations } from './link-ops.js';

export const latch_operations: OperationsByType = {
  dir: { i_op: dir_inode_operations, i_fop: dir_operations },
  file: { i_op: file_inode_operations, i_fop: file_operations, a_ops: file_aops, secret_aops },
  symlink: symlink_inode_operations,
  special: special_inode_operations,
};
