/** xattr_handler: list, get and set of one extended-attribute namespace. */
import type { Row } from './row.js';
import { EVERYWHERE, exclusive, notHeld, rowsOf } from './rules.js';

const op = rowsOf('xattr_handler');

export const xattr_handler = {
  list: op('list', {
    returns: 'bool',
    prototype: 'struct dentry *dentry',
    cells: ['no'],
    mayBlock: 'yes',
    rules: [notHeld('i_rwsem', 'inode')],
    reach: EVERYWHERE,
  }),
  get: op('get', {
    returns: 'int',
    prototype:
      'const struct xattr_handler *handler, struct dentry *dentry, struct inode *inode, const char *name, void *buffer, size_t size',
    cells: ['no'],
    mayBlock: 'yes',
    rules: [notHeld('i_rwsem', 'inode')],
    reach: EVERYWHERE,
  }),
  set: op('set', {
    returns: 'int',
    prototype:
      'const struct xattr_handler *handler, struct mnt_idmap *idmap, struct dentry *dentry, struct inode *inode, const char *name, const void *buffer, size_t size, int flags',
    cells: ['exclusive'],
    mayBlock: 'yes',
    rules: [exclusive('i_rwsem', 'inode')],
    reach: EVERYWHERE,
  }),
} as const satisfies Record<string, Row>;
