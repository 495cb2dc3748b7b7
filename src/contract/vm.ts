/** vm_operations_struct: mmap_lock as the fault path holds it, and the page that a fault may return locked. */
import type { Row } from './row.js';
import { acquires, demand, eitherMode, exclusive, rowsOf, SYSCALLS, shared, takes } from './rules.js';

const op = rowsOf('vm_operations_struct');

const mapReadable = shared('mmap_lock', 'mm');
const maybeReadable = shared('mmap_lock', 'mm', { when: 'the fault does not run under the lock of the vma alone' });
const returnsLocked = acquires('folio', 'folio', { when: 'it returns VM_FAULT_LOCKED' });

export const vm_operations_struct = {
  open: op('open', {
    returns: 'void',
    prototype: 'struct vm_area_struct *',
    cells: ['write'],
    mayBlock: 'yes',
    rules: [exclusive('mmap_lock', 'mm')],
    reach: SYSCALLS,
  }),
  close: op('close', {
    returns: 'void',
    prototype: 'struct vm_area_struct *',
    cells: ['read/write'],
    mayBlock: 'yes',
    rules: [eitherMode('mmap_lock', 'mm')],
    reach: SYSCALLS,
  }),
  fault: op('fault', {
    returns: 'vm_fault_t',
    prototype: 'struct vm_fault *',
    cells: ['read', 'can return with page locked'],
    mayBlock: 'yes',
    rules: [
      mapReadable,
      takes('invalidate_lock', 'mapping', 'read', { when: 'the page may be truncated or invalidated' }),
      returnsLocked,
    ],
    prose: [
      demand('finds-the-page', 'It returns the page at the offset of the fault.'),
      demand(
        'excludes-truncation',
        'Where the page may go away it takes invalidate_lock, makes sure that the page is still there, and returns it locked with VM_FAULT_LOCKED.',
      ),
      demand('vm-unlocks', 'The page that it returned locked is unlocked by its caller.'),
    ],
    reach: SYSCALLS,
  }),
  huge_fault: op('huge_fault', {
    returns: 'vm_fault_t',
    prototype: 'struct vm_fault *, unsigned int order',
    cells: ['maybe-read'],
    mayBlock: 'yes',
    rules: [maybeReadable],
    prose: [
      demand(
        'fills-a-missing-huge-entry',
        'It is called where the entry for a huge page is missing, and may install a page of that size.',
      ),
      demand('not-through-filemap_fault', 'It does not call filemap_fault.'),
      demand('without-mmap_lock', 'mmap_lock is perhaps not held when it is called.'),
    ],
    reach: SYSCALLS,
  }),
  map_pages: op('map_pages', {
    returns: 'vm_fault_t',
    prototype: 'struct vm_fault *, pgoff_t start, pgoff_t end',
    cells: ['maybe-read'],
    mayBlock: 'no',
    rules: [maybeReadable, shared('rcu', 'mapping')],
    prose: [
      demand('under-rcu', 'It is called inside an RCU read section and must not block.'),
      demand('skips-what-would-block', 'A page that cannot be had without waiting is left out.'),
      demand(
        'sets-entries-with-set_pte_range',
        'It maps pages between the two offsets with set_pte_range, at entries counted from the given one.',
      ),
    ],
    reach: SYSCALLS,
  }),
  page_mkwrite: op('page_mkwrite', {
    returns: 'vm_fault_t',
    prototype: 'struct vm_area_struct *, struct vm_fault *',
    cells: ['read', 'can return with page locked'],
    mayBlock: 'yes',
    rules: [
      mapReadable,
      takes('invalidate_lock', 'mapping', 'read', { when: 'the page may be truncated or invalidated' }),
      returnsLocked,
    ],
    prose: [
      demand(
        'excludes-truncation-and-remapping',
        'It excludes truncation, invalidation, remap_file_range and copy_file_range, usually by invalidate_lock, and returns with the page locked.',
      ),
      demand(
        'truncated-means-retry',
        'For a page that has been truncated it looks up no new one and returns VM_FAULT_NOPAGE, so that the fault is repeated.',
      ),
    ],
    reach: SYSCALLS,
  }),
  pfn_mkwrite: op('pfn_mkwrite', {
    returns: 'vm_fault_t',
    prototype: 'struct vm_area_struct *, struct vm_fault *',
    cells: ['read'],
    mayBlock: 'yes',
    rules: [mapReadable],
    prose: [
      demand(
        'answers-NOPAGE-or-error',
        'It is page_mkwrite for an entry without a page; it returns VM_FAULT_NOPAGE or an error, and without an error the entry becomes writable.',
      ),
    ],
    reach: SYSCALLS,
  }),
  access: op('access', {
    returns: 'int',
    prototype: 'struct vm_area_struct *, unsigned long, void*, int, int',
    cells: ['read'],
    mayBlock: 'yes',
    rules: [mapReadable],
    prose: [
      demand(
        'only-for-special-mappings',
        'It serves debuggers and ptrace where the pages cannot be pinned, and only for mappings of I/O memory or bare frames.',
      ),
    ],
    reach: SYSCALLS,
  }),
} as const satisfies Record<string, Row>;
