/** dquot_operations: what the generic quota code holds when it calls the filesystem, and whether that comes back to it. */
import type { Row } from './row.js';
import { demand, eitherMode, rowsOf, SYSCALLS } from './rules.js';

const op = rowsOf('dquot_operations');

const quotasOnOrOff = eitherMode('dqonoff_sem', 'sb', { oneOf: 'quota' });
const quotaPointers = eitherMode('dqptr_sem', 'sb', { oneOf: 'quota' });
const beforeTable = 'dquot_operations, the paragraph before the table';
const wraps = demand(
  'wraps-the-generic-operation',
  "It puts the filesystem's own locking around the generic quota operation and calls that.",
  beforeTable,
);
const recurses = demand(
  'recurses-into-quota-io',
  'It comes back into the filesystem through quota_read and quota_write.',
  'dquot_operations, the paragraph after the table',
);

export const dquot_operations = {
  write_dquot: op('write_dquot', {
    returns: 'int',
    prototype: 'struct dquot *',
    cells: ['yes', 'dqonoff_sem or dqptr_sem'],
    mayBlock: 'yes',
    rules: [quotasOnOrOff, quotaPointers],
    prose: [wraps, recurses],
    reach: SYSCALLS,
  }),
  acquire_dquot: op('acquire_dquot', {
    returns: 'int',
    prototype: 'struct dquot *',
    cells: ['yes', 'dqonoff_sem or dqptr_sem'],
    mayBlock: 'yes',
    rules: [quotasOnOrOff, quotaPointers],
    prose: [wraps, recurses],
    reach: SYSCALLS,
  }),
  release_dquot: op('release_dquot', {
    returns: 'int',
    prototype: 'struct dquot *',
    cells: ['yes', 'dqonoff_sem or dqptr_sem'],
    mayBlock: 'yes',
    rules: [quotasOnOrOff, quotaPointers],
    prose: [wraps, recurses],
    reach: SYSCALLS,
  }),
  mark_dirty: op('mark_dirty', {
    returns: 'int',
    prototype: 'struct dquot *',
    cells: ['no'],
    mayBlock: 'yes',
    rules: [],
    prose: [
      wraps,
      demand(
        'does-not-recurse',
        'It does not come back into the filesystem through quota_read and quota_write.',
        'dquot_operations, the cell of mark_dirty',
      ),
    ],
    reach: SYSCALLS,
  }),
  write_info: op('write_info', {
    returns: 'int',
    prototype: 'struct super_block *, int',
    cells: ['yes', 'dqonoff_sem'],
    mayBlock: 'yes',
    rules: [eitherMode('dqonoff_sem', 'sb')],
    prose: [wraps, recurses],
    reach: SYSCALLS,
  }),
} as const satisfies Record<string, Row>;
