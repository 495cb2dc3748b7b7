/** dentry_operations: what the dcache and the path walk hold when they call into a filesystem's dentries. */
import type { Row } from './row.js';
import { demand, EVERYWHERE, eitherMode, exclusive, notHeld, rowsOf, SYSCALLS, shared } from './rules.js';

const op = rowsOf('dentry_operations');

const noRenameLock = notHeld('rename_lock', 'dcache');
const noDentryLock = notHeld('d_lock', 'dentry');
/** May be called while the path walk is in rcu mode; then the read section of the walk is open. */
const maybeRcuWalk = shared('rcu', 'walk', { when: 'rcu-walk' });
const noRcuWalk = notHeld('rcu', 'walk');

export const dentry_operations = {
  d_revalidate: op('d_revalidate', {
    returns: 'int',
    prototype: 'struct dentry *, unsigned int',
    cells: ['no', 'no', 'yes (ref-walk)', 'maybe'],
    mayBlock: 'maybe',
    blockCondition: 'in ref-walk',
    rules: [maybeRcuWalk, noRenameLock, noDentryLock],
    prose: [
      demand(
        'rcu-walk-falls-back',
        'In rcu-walk it may not block: where it would have to, it fails so that the walk is repeated by reference.',
        'dentry_operations, the cells of d_revalidate',
      ),
    ],
    reach: EVERYWHERE,
  }),
  d_weak_revalidate: op('d_weak_revalidate', {
    returns: 'int',
    prototype: 'struct dentry *, unsigned int',
    cells: ['no', 'no', 'yes', 'no'],
    mayBlock: 'yes',
    rules: [noRenameLock, noDentryLock, noRcuWalk],
    reach: SYSCALLS,
  }),
  d_hash: op('d_hash', {
    returns: 'int',
    prototype: 'const struct dentry *, struct qstr *',
    cells: ['no', 'no', 'no', 'maybe'],
    mayBlock: 'no',
    rules: [maybeRcuWalk, noRenameLock, noDentryLock],
    reach: EVERYWHERE,
  }),
  d_compare: op('d_compare', {
    returns: 'int',
    prototype: 'const struct dentry *, unsigned int, const char *, const struct qstr *',
    cells: ['yes', 'no', 'no', 'maybe'],
    mayBlock: 'no',
    rules: [maybeRcuWalk, eitherMode('rename_lock', 'dcache'), noDentryLock],
    reach: EVERYWHERE,
  }),
  d_delete: op('d_delete', {
    returns: 'int',
    prototype: 'struct dentry *',
    cells: ['no', 'yes', 'no', 'no'],
    mayBlock: 'no',
    rules: [exclusive('d_lock', 'dentry'), noRenameLock, noRcuWalk],
    reach: EVERYWHERE,
  }),
  d_init: op('d_init', {
    returns: 'int',
    prototype: 'struct dentry *',
    cells: ['no', 'no', 'yes', 'no'],
    mayBlock: 'yes',
    rules: [noRenameLock, noDentryLock, noRcuWalk],
    reach: EVERYWHERE,
  }),
  d_release: op('d_release', {
    returns: 'void',
    prototype: 'struct dentry *',
    cells: ['no', 'no', 'yes', 'no'],
    mayBlock: 'yes',
    rules: [noRenameLock, noDentryLock, noRcuWalk],
    reach: EVERYWHERE,
  }),
  d_prune: op('d_prune', {
    cells: ['no', 'yes', 'no', 'no'],
    mayBlock: 'no',
    rules: [exclusive('d_lock', 'dentry'), noRenameLock, noRcuWalk],
    reach: EVERYWHERE,
  }),
  d_iput: op('d_iput', {
    returns: 'void',
    prototype: 'struct dentry *, struct inode *',
    cells: ['no', 'no', 'yes', 'no'],
    mayBlock: 'yes',
    rules: [noRenameLock, noDentryLock, noRcuWalk],
    reach: EVERYWHERE,
  }),
  d_dname: op('d_dname', {
    returns: 'char *',
    prototype: 'struct dentry *dentry, char *buffer, int buflen',
    cells: ['no', 'no', 'no', 'no'],
    mayBlock: 'no',
    rules: [noRenameLock, noDentryLock, noRcuWalk],
    reach: SYSCALLS,
  }),
  d_automount: op('d_automount', {
    returns: 'struct vfsmount *',
    prototype: 'struct path *path',
    cells: ['no', 'no', 'yes', 'no'],
    mayBlock: 'yes',
    rules: [noRenameLock, noDentryLock, noRcuWalk],
    reach: EVERYWHERE,
  }),
  d_manage: op('d_manage', {
    returns: 'int',
    prototype: 'const struct path *, bool',
    cells: ['no', 'no', 'yes (ref-walk)', 'maybe'],
    mayBlock: 'maybe',
    blockCondition: 'in ref-walk',
    rules: [maybeRcuWalk, noRenameLock, noDentryLock],
    prose: [
      demand(
        'rcu-walk-falls-back',
        'In rcu-walk it may not block: where it would have to, it fails so that the walk is repeated by reference.',
        'dentry_operations, the cells of d_manage',
      ),
    ],
    reach: EVERYWHERE,
  }),
  d_real: op('d_real', {
    returns: 'struct dentry *',
    prototype: 'struct dentry *, const struct inode *',
    cells: ['no', 'no', 'yes', 'no'],
    mayBlock: 'yes',
    rules: [noRenameLock, noDentryLock, noRcuWalk],
    reach: SYSCALLS,
  }),
} as const satisfies Record<string, Row>;
