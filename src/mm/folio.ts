/** A folio: one page of a file in memory, its lock, its state bits (struct folio). */
import { BitLock, WaitBit } from '../locking/bitlock.js';
import type { AddressSpace } from './address-space.js';

export const PAGE_SHIFT = 12;
/** Bytes in a folio. */
export const PAGE_SIZE = 1 << PAGE_SHIFT;

export class Folio {
  /** PG_locked. */
  readonly lock = new BitLock('folio');
  /** PG_writeback: set by folio_start_writeback, cleared by folio_end_writeback in the completion. */
  readonly writeback = new WaitBit('writeback');
  /** The file it belongs to; undefined once it was removed from the page cache (truncated, reclaimed). */
  mapping: AddressSpace | undefined;
  /** Its place in the file, in pages. */
  readonly index: number;
  /** Its PAGE_SIZE bytes. Owned by the page pool: valid while a reference is held. */
  readonly data: Buffer;
  /** References: 1 for the page cache, one for each user that may outlive it there (folio_get, folio_put). */
  refcount = 1;
  /** PG_uptodate: the bytes are the file's. */
  uptodate = false;
  /** PG_dirty: the bytes are newer than the device's. Changed through folio_mark_dirty and folio_clear_dirty_for_io only. */
  dirty = false;
  /** PG_error: the last read failed. */
  error = false;
  /** PG_referenced: used since the reclaim scan last passed. */
  referenced = false;
  /** PG_active: on the active list (WRITEPAGE_ACTIVATE moves it there). */
  active = false;
  /** PG_readahead: reading this one starts the next readahead. */
  readahead = false;
  /** The filesystem's own data (folio->private), removed by release_folio. */
  private: object | undefined;
  /** Links of the reclaim list it is on. */
  lru_prev: Folio | undefined;
  lru_next: Folio | undefined;

  constructor(mapping: AddressSpace, index: number, data: Buffer) {
    this.mapping = mapping;
    this.index = index;
    this.data = data;
  }
}
