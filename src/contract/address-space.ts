/** address_space_operations: the folio lock as it changes hands, i_rwsem around writes, invalidate_lock around filling. */
import type { Row } from './row.js';
import { acquires, demand, EVERYWHERE, exclusive, notHeld, rowsOf, SYSCALLS, shared, unlocks } from './rules.js';

const op = rowsOf('address_space_operations');

const folioLocked = exclusive('folio', 'folio');
const fillingIsShared = shared('invalidate_lock', 'mapping');
const requestHandler = demand(
  'callable-from-a-request-handler',
  'It may be called by the handler of a block request (a loop device), so it may rely on nothing of the calling system call.',
  'address_space_operations, the first paragraph after the table',
);

export const address_space_operations = {
  writepage: op('writepage', {
    returns: 'int',
    prototype: 'struct page *page, struct writeback_control *wbc',
    cells: ['yes, unlocks (see below)'],
    mayBlock: 'yes',
    rules: [
      unlocks('folio', 'folio', { when: 'it does not return WRITEPAGE_ACTIVATE', variant: 'written' }),
      exclusive('folio', 'folio', { when: 'it returns WRITEPAGE_ACTIVATE', variant: 'activated' }),
    ],
    prose: [
      demand('sync-starts-io', 'In a sync mode it must start I/O on the page, whatever it has to wait for.'),
      demand(
        'sync-waits-for-in-progress-io',
        'In a sync mode it waits until I/O that is already under way has ended, and then starts its own.',
      ),
      demand(
        'cleansing-avoids-blocking',
        'In mode WBC_SYNC_NONE it keeps writeout moving and avoids waiting for I/O that is under way.',
      ),
      demand(
        'redirties-rather-than-blocks',
        'Outside sync, where it would have to wait, it marks the page for a later writepage, unlocks it and returns zero.',
      ),
      demand('unlocks-before-return', 'The page is unlocked synchronously, before the return.'),
      demand(
        'activate-stops-further-calls',
        'WRITEPAGE_ACTIVATE says that the page cannot be written now; the caller puts it at the head of the active list and leaves it alone for a while.',
      ),
      demand(
        'writeback-before-unlock',
        'Unless the page is redirtied, the writeback mark is set before the page is unlocked.',
      ),
      demand('completion-ends-writeback', 'The completion of the write ends the writeback.'),
      demand('no-io-ends-writeback', 'Where no I/O is submitted, it ends the writeback itself before it returns.'),
      demand(
        'written-pages-need-no-lock',
        'A page under writeout is not locked, though a filesystem may keep it locked for any part of the time between the start and the end of the writeback.',
      ),
      demand(
        'never-clean-but-tagged-dirty',
        'Either the page is redirtied or a writeback is begun and ended; otherwise the page is clean while the tree still tags it dirty.',
      ),
    ],
    reach: SYSCALLS,
  }),
  read_folio: op('read_folio', {
    returns: 'int',
    prototype: 'struct file *, struct folio *',
    cells: ['yes, unlocks', '', 'shared'],
    mayBlock: 'yes',
    rules: [fillingIsShared, unlocks('folio', 'folio')],
    prose: [
      requestHandler,
      demand(
        'unlocks-now-or-at-completion',
        'The folio is unlocked by the operation itself or by the completion of the I/O that it began.',
      ),
    ],
    reach: SYSCALLS,
  }),
  writepages: op('writepages', {
    returns: 'int',
    prototype: 'struct address_space *, struct writeback_control *',
    cells: [],
    mayBlock: 'yes',
    rules: [],
    prose: [
      demand(
        'starts-nr_to_write',
        'It starts I/O on about as many pages as nr_to_write asks for, more or fewer within reason.',
      ),
      demand('accounts-each-page', 'nr_to_write goes down by one for each page written.'),
      demand('without-nr_to_write-writes-all', 'Without a number it writes every dirty page.'),
      demand('only-pages-up-for-io', "It writes only pages that are on the mapping's list for I/O."),
    ],
    reach: EVERYWHERE,
  }),
  dirty_folio: op('dirty_folio', {
    returns: 'bool',
    prototype: 'struct address_space *, struct folio *folio',
    cells: ['maybe'],
    mayBlock: 'no',
    rules: [
      exclusive('folio', 'folio', { oneOf: 'no truncation' }),
      exclusive('page_table_lock', 'mm', { oneOf: 'no truncation' }),
    ],
    prose: [
      demand(
        'truncation-is-blocked',
        'The folio cannot be truncated meanwhile: its lock is held, or the page table lock under which it was found.',
      ),
    ],
    reach: EVERYWHERE,
  }),
  readahead: op('readahead', {
    returns: 'void',
    prototype: 'struct readahead_control *',
    cells: ['yes, unlocks', '', 'shared'],
    mayBlock: 'yes',
    rules: [fillingIsShared, unlocks('folio', 'folios')],
    prose: [
      demand(
        'unlocks-what-it-tries',
        'Every folio on which I/O is attempted is unlocked, at once or by the completion.',
      ),
    ],
    reach: SYSCALLS,
  }),
  write_begin: op('write_begin', {
    returns: 'int',
    prototype:
      'struct file *, struct address_space *mapping, loff_t pos, unsigned len, struct page **pagep, void **fsdata',
    cells: ['locks the page', 'exclusive'],
    mayBlock: 'yes',
    keepsUntil: 'write_end',
    rules: [exclusive('i_rwsem', 'inode'), acquires('folio', 'folio', { when: 'it succeeds' })],
    prose: [requestHandler],
    reach: EVERYWHERE,
  }),
  write_end: op('write_end', {
    returns: 'int',
    prototype:
      'struct file *, struct address_space *mapping, loff_t pos, unsigned len, unsigned copied, struct page *page, void *fsdata',
    cells: ['yes, unlocks', 'exclusive'],
    mayBlock: 'yes',
    rules: [exclusive('i_rwsem', 'inode'), unlocks('folio', 'folio')],
    prose: [requestHandler],
    reach: EVERYWHERE,
  }),
  bmap: op('bmap', {
    returns: 'sector_t',
    prototype: 'struct address_space *, sector_t',
    cells: [],
    mayBlock: 'yes',
    rules: [],
    prose: [demand('no-new-callers', 'FIBMAP and the swapper call it, and nothing new may.')],
    reach: SYSCALLS,
  }),
  invalidate_folio: op('invalidate_folio', {
    returns: 'void',
    prototype: 'struct folio *, size_t start, size_t len',
    cells: ['yes', '', 'exclusive'],
    mayBlock: 'yes',
    rules: [exclusive('invalidate_lock', 'mapping', { when: 'the inode is in use' }), folioLocked],
    prose: [
      demand('drops-what-the-range-covers', 'It lets go of the private data of the part of the folio that goes away.'),
      demand(
        'filesystem-takes-invalidate_lock',
        'A truncation or hole punch takes invalidate_lock exclusively first, so that no fault and no read can refill the range.',
      ),
    ],
    reach: EVERYWHERE,
  }),
  release_folio: op('release_folio', {
    returns: 'bool',
    prototype: 'struct folio *, gfp_t',
    cells: ['yes'],
    mayBlock: 'yes',
    rules: [folioLocked],
    prose: [
      demand('not-under-writeback', 'The folio is locked and not under writeback; it may be dirty.'),
      demand(
        'true-means-gone',
        'True says that the private data has been removed already; false says that it cannot be freed.',
      ),
      demand(
        'gfp-limits-the-effort',
        'The allocation flags say what may be done to free the data, not how to allocate.',
      ),
      demand(
        'default-frees-buffers',
        'Without the method the private data is taken for buffer heads, and those are freed.',
      ),
    ],
    reach: SYSCALLS,
  }),
  free_folio: op('free_folio', {
    returns: 'void',
    prototype: 'struct folio *',
    cells: ['yes'],
    mayBlock: 'no',
    rules: [folioLocked],
    prose: [demand('already-out-of-the-cache', 'The folio has left the page cache when it is called.')],
    reach: SYSCALLS,
  }),
  direct_IO: op('direct_IO', {
    returns: 'int',
    prototype: 'struct kiocb *, struct iov_iter *iter',
    cells: [],
    mayBlock: 'yes',
    rules: [],
    reach: SYSCALLS,
  }),
  migrate_folio: op('migrate_folio', {
    returns: 'int',
    prototype: 'struct address_space *, struct folio *dst, struct folio *src, enum migrate_mode',
    cells: ['yes (both)'],
    mayBlock: 'yes',
    rules: [exclusive('folio', 'src'), exclusive('folio', 'dst')],
    reach: SYSCALLS,
  }),
  launder_folio: op('launder_folio', {
    returns: 'int',
    prototype: 'struct folio *',
    cells: ['yes'],
    mayBlock: 'yes',
    rules: [folioLocked],
    prose: [
      demand('zero-means-clean', 'Zero says that the folio is clean, anything else is the error.'),
      demand(
        'locked-throughout',
        'The folio stays locked for the whole operation, so that it can be neither mapped nor dirtied again.',
      ),
    ],
    reach: SYSCALLS,
  }),
  is_partially_uptodate: op('is_partially_uptodate', {
    returns: 'bool',
    prototype: 'struct folio *, size_t from, size_t count',
    cells: ['yes'],
    mayBlock: 'yes',
    rules: [folioLocked],
    reach: SYSCALLS,
  }),
  error_remove_folio: op('error_remove_folio', {
    returns: 'int',
    prototype: 'struct address_space *, struct folio *',
    cells: ['yes'],
    mayBlock: 'yes',
    rules: [folioLocked],
    reach: SYSCALLS,
  }),
  swap_activate: op('swap_activate', {
    returns: 'int',
    prototype: 'struct swap_info_struct *sis, struct file *f, sector_t *span',
    cells: ['no'],
    mayBlock: 'yes',
    rules: [notHeld('folio', 'folio')],
    prose: [
      demand(
        'prepares-for-writes-without-memory',
        'It checks and prepares the file so that writing to it needs hardly any allocation.',
      ),
      demand('adds-extents', 'It adds the extents of the file to the swap area and returns how many.'),
      demand(
        'chooses-swap_rw',
        'It sets SWP_FS_OPS where I/O is to go through swap_rw; otherwise I/O goes straight to the block device.',
      ),
    ],
    reach: SYSCALLS,
  }),
  swap_deactivate: op('swap_deactivate', {
    returns: 'int',
    prototype: 'struct file *',
    cells: ['no'],
    mayBlock: 'yes',
    rules: [notHeld('folio', 'folio')],
    prose: [
      demand('undoes-a-successful-activate', 'swapoff calls it after swap_activate has succeeded, and only then.'),
    ],
    reach: SYSCALLS,
  }),
  swap_rw: op('swap_rw', {
    returns: 'int',
    prototype: 'struct kiocb *iocb, struct iov_iter *iter',
    cells: ['yes, unlocks'],
    mayBlock: 'yes',
    rules: [unlocks('folio', 'folio')],
    prose: [demand('only-with-SWP_FS_OPS', 'Swap I/O comes through it only where swap_activate has set SWP_FS_OPS.')],
    reach: SYSCALLS,
  }),
} as const satisfies Record<string, Row>;
