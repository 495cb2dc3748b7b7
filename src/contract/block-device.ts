/** block_device_operations: open_mutex around open and release, nothing of the kind around the rest. */
import type { Row } from './row.js';
import { demand, EVERYWHERE, eitherMode, exclusive, notHeld, rowsOf, SYSCALLS } from './rules.js';

const op = rowsOf('block_device_operations');

const noOpenMutex = notHeld('open_mutex', 'disk');

export const block_device_operations = {
  open: op('open', {
    returns: 'int',
    prototype: 'struct block_device *, fmode_t',
    cells: ['yes'],
    mayBlock: 'yes',
    rules: [exclusive('open_mutex', 'disk')],
    reach: EVERYWHERE,
  }),
  release: op('release', {
    returns: 'int',
    prototype: 'struct gendisk *, fmode_t',
    cells: ['yes'],
    mayBlock: 'yes',
    rules: [exclusive('open_mutex', 'disk')],
    reach: EVERYWHERE,
  }),
  ioctl: op('ioctl', {
    returns: 'int',
    prototype: 'struct block_device *, fmode_t, unsigned, unsigned long',
    cells: ['no'],
    mayBlock: 'yes',
    rules: [noOpenMutex],
    reach: SYSCALLS,
  }),
  compat_ioctl: op('compat_ioctl', {
    returns: 'int',
    prototype: 'struct block_device *, fmode_t, unsigned, unsigned long',
    cells: ['no'],
    mayBlock: 'yes',
    rules: [noOpenMutex],
    reach: SYSCALLS,
  }),
  direct_access: op('direct_access', {
    returns: 'int',
    prototype: 'struct block_device *, sector_t, void **, unsigned long *',
    cells: ['no'],
    mayBlock: 'yes',
    rules: [noOpenMutex],
    reach: SYSCALLS,
  }),
  unlock_native_capacity: op('unlock_native_capacity', {
    returns: 'void',
    prototype: 'struct gendisk *',
    cells: ['no'],
    mayBlock: 'yes',
    rules: [noOpenMutex],
    reach: SYSCALLS,
  }),
  getgeo: op('getgeo', {
    returns: 'int',
    prototype: 'struct block_device *, struct hd_geometry *',
    cells: ['no'],
    mayBlock: 'yes',
    rules: [noOpenMutex],
    reach: SYSCALLS,
  }),
  swap_slot_free_notify: op('swap_slot_free_notify', {
    returns: 'void',
    prototype: 'struct block_device *, unsigned long',
    cells: ['no (see below)'],
    mayBlock: 'no',
    rules: [
      eitherMode('folio', 'folio', { when: 'the slot is freed with its folio at hand' }),
      exclusive('swap_lock', 'swap'),
      noOpenMutex,
    ],
    prose: [
      demand(
        'under-swap_lock',
        'It is called under the swap lock, so it may not block; the page lock is held as well in some calls.',
      ),
    ],
    reach: SYSCALLS,
  }),
} as const satisfies Record<string, Row>;
