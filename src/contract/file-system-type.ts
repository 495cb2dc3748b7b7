/** file_system_type: the two ends of a superblock's life, both with s_umount changing hands. */
import type { Row } from './row.js';
import { acquires, demand, EVERYWHERE, rowsOf, unlocks } from './rules.js';

const op = rowsOf('file_system_type');

export const file_system_type = {
  mount: op('mount', {
    returns: 'struct dentry *',
    prototype: 'struct file_system_type *, int, const char *, void *',
    cells: ['yes'],
    mayBlock: 'yes',
    rules: [acquires('s_umount', 'sb', { when: 'it returns a root' })],
    prose: [demand('returns-locked', 'On success it returns the root, and the superblock of that root is locked.')],
    reach: EVERYWHERE,
  }),
  kill_sb: op('kill_sb', {
    returns: 'void',
    prototype: 'struct super_block *',
    cells: ['yes'],
    mayBlock: 'yes',
    rules: [unlocks('s_umount', 'sb')],
    prose: [
      demand(
        'unlocks-when-shut-down',
        'It is given a superblock locked for writing, shuts it down entirely under that lock, and unlocks it.',
      ),
      demand('drops-the-reference', 'After unlocking it gives up the reference it was called with.'),
    ],
    reach: EVERYWHERE,
  }),
} as const satisfies Record<string, Row>;
