/** file_lock_operations: the private part of a lock, copied and released by the filesystem that owns it. */
import type { Row } from './row.js';
import { EVERYWHERE, exclusive, notHeld, rowsOf } from './rules.js';

const op = rowsOf('file_lock_operations');

/* The column says inode->i_lock; the lists moved under flc_lock with the file-lock context, and the rule follows them
   (the findings on the section say so). */
export const file_lock_operations = {
  fl_copy_lock: op('fl_copy_lock', {
    returns: 'void',
    prototype: 'struct file_lock *, struct file_lock *',
    cells: ['yes', 'no'],
    mayBlock: 'no',
    rules: [exclusive('flc_lock', 'inode')],
    reach: EVERYWHERE,
  }),
  fl_release_private: op('fl_release_private', {
    returns: 'void',
    prototype: 'struct file_lock *',
    cells: ['maybe', 'maybe[1]_'],
    mayBlock: 'maybe',
    blockCondition: 'of a POSIX or flock lock; a lease may be freed under the lock',
    rules: [
      exclusive('flc_lock', 'inode', { when: 'a lease freed from the list', variant: 'lease' }),
      notHeld('flc_lock', 'inode', { when: 'a POSIX or flock lock', variant: 'lock' }),
    ],
    reach: EVERYWHERE,
  }),
} as const satisfies Record<string, Row>;
