/** lock_manager_operations: what lockd, nfsd and the lease code are called back with. */
import type { Row } from './row.js';
import { exclusive, notHeld, rowsOf, SYSCALLS } from './rules.js';

const op = rowsOf('lock_manager_operations');

const contextLocked = exclusive('flc_lock', 'inode');
const contextNotLocked = notHeld('flc_lock', 'inode');
const blockedLocksFree = notHeld('blocked_lock_lock', 'locks');

export const lock_manager_operations = {
  lm_notify: op('lm_notify', {
    returns: 'void',
    prototype: 'struct file_lock *',
    cells: ['no', 'yes', 'no'],
    mayBlock: 'no',
    rules: [
      exclusive('blocked_lock_lock', 'locks'),
      notHeld('flc_lock', 'inode', { when: 'a waiter leaves the queue' }),
    ],
    reach: SYSCALLS,
  }),
  lm_grant: op('lm_grant', {
    returns: 'int',
    prototype: 'struct file_lock *, struct file_lock *, int',
    cells: ['no', 'no', 'no'],
    mayBlock: 'no',
    rules: [contextNotLocked, blockedLocksFree],
    reach: SYSCALLS,
  }),
  lm_break: op('lm_break', {
    returns: 'void',
    prototype: 'struct file_lock *',
    cells: ['yes', 'no', 'no'],
    mayBlock: 'no',
    rules: [contextLocked, blockedLocksFree],
    reach: SYSCALLS,
  }),
  lm_change: op('lm_change', {
    returns: 'int',
    prototype: 'struct file_lock **, int',
    cells: ['yes', 'no', 'no'],
    mayBlock: 'no',
    rules: [contextLocked, blockedLocksFree],
    reach: SYSCALLS,
  }),
  lm_breaker_owns_lease: op('lm_breaker_owns_lease', {
    returns: 'bool',
    prototype: 'struct file_lock *',
    cells: ['yes', 'no', 'no'],
    mayBlock: 'no',
    rules: [contextLocked, blockedLocksFree],
    reach: SYSCALLS,
  }),
  lm_lock_expirable: op('lm_lock_expirable', {
    returns: 'bool',
    prototype: 'struct file_lock *',
    cells: ['yes', 'no', 'no'],
    mayBlock: 'no',
    rules: [contextLocked, blockedLocksFree],
    reach: SYSCALLS,
  }),
  lm_expire_lock: op('lm_expire_lock', {
    returns: 'void',
    prototype: 'void',
    cells: ['no', 'no', 'yes'],
    mayBlock: 'yes',
    rules: [contextNotLocked, blockedLocksFree],
    reach: SYSCALLS,
  }),
} as const satisfies Record<string, Row>;
