/** A folio: one page of a file in memory, its lock, its state bits (struct folio). */
import { io_under_way } from '../block/in-flight.js';
import { BitLock, WaitBit } from '../locking/bitlock.js';
import { LockClassKey } from '../locking/lockdep/class.js';
import type { TrackedLock } from '../sched/validator.js';
import type { AddressSpace } from './address-space.js';
import type { LruList } from './lru.js';
import type { MemoryControl } from './memory.js';
import type { AnonRmap } from './rmap.js';
import type { SwapEntry } from './swap-info.js';

export const PAGE_SHIFT = 12;
/** Bytes in a folio. */
export const PAGE_SIZE = 1 << PAGE_SHIFT;

/** What a folio's data is once its page went back to the pool: a late user finds no bytes rather than somebody else's. */
const FREED = Buffer.alloc(0);

/** Of several pages those with lower indexes are locked first, whatever files they are of (vfs_lock_two_folios, write_cache_pages). */
const FOLIO_KEY = new LockClassKey('folio', 'bit', '', (held, wanted) => indexOf(held) - indexOf(wanted));

function indexOf(lock: object): number {
  const { owner } = lock as TrackedLock;
  return owner instanceof Folio ? owner.index : Number.NaN;
}

export class Folio {
  /** PG_locked. */
  readonly lock = new BitLock('folio', FOLIO_KEY);
  /** PG_writeback: set by folio_start_writeback, cleared by folio_end_writeback in the completion. */
  readonly writeback: Pick<WaitBit, 'isSet' | 'wait'> = new WaitBit('writeback');
  /** Whose page it is. */
  readonly memory: MemoryControl;
  /** The file it belongs to; undefined once it was removed from the page cache (truncated, reclaimed). Changed with its lock held (folio-fields.ts). */
  readonly mapping: AddressSpace | undefined;
  /** Its place in the file, in pages. */
  readonly index: number;
  /** The number of its page in the pool. */
  readonly pfn: number;
  /** The PAGE_SIZE bytes of that page: valid while a reference is held. */
  data: Buffer;
  /** References: 1 for the page cache, one for each user that may outlive it there (folio_get, folio_put). */
  refcount = 1;
  /** PG_uptodate: the bytes are the file's. Changed by folio_mark_uptodate and folio_clear_uptodate. */
  readonly uptodate: boolean = false;
  /** PG_dirty: the bytes are newer than the device's. Changed through folio_mark_dirty and folio_clear_dirty_for_io only. */
  readonly dirty: boolean = false;
  /** When it became so the last time: the mapping's nr_dirtied then. */
  dirtied = 0;
  /** PG_error: the last read failed. */
  error = false;
  /** PG_referenced: used since the reclaim scan last passed. */
  referenced = false;
  /** PG_active: on the active list (WRITEPAGE_ACTIVATE moves it there). */
  active = false;
  /** PG_readahead: reading this one starts the next readahead. */
  readahead = false;
  /** PG_reclaim: reclaim wants it as soon as its writeback ends. */
  reclaim = false;
  /** The filesystem's own data (folio->private), removed by release_folio. */
  private: object | undefined;
  /** PG_hwpoison: the memory itself is broken. */
  poisoned = false;
  /** Entries of page tables that map it; each has a reference. */
  mapcount = 0;
  /** Of anonymous memory: where it is mapped. */
  anon: AnonRmap | undefined;
  /** Of anonymous memory in the swap cache: its slot. */
  swap: SwapEntry | undefined;
  /** The reclaim list it is on, and its links there. */
  lru: LruList | undefined;
  lru_prev: Folio | undefined;
  lru_next: Folio | undefined;

  /** A folio for page `index` of a file, over a new page of the pool; without a mapping it is anonymous memory, or will get its file later. */
  constructor(memory: MemoryControl, mapping: AddressSpace | undefined, index: number, pfn = memory.pool.alloc()) {
    this.lock.owner = this;
    this.memory = memory;
    this.mapping = mapping;
    this.index = index;
    this.pfn = pfn;
    this.data = memory.pool.view(pfn);
  }
}

/** Take a reference, so that the folio's data stays (folio_get). */
export function folio_get(folio: Folio): void {
  folio.refcount++;
}

/** Folios whose bytes may not stay in memory, and how many there are at the most. */
const toWipe = new WeakSet<Folio>();
let wipes = 0;

/** Zero the bytes of a folio when the last reference goes, before anybody else gets the page. */
export function folio_wipe_when_free(folio: Folio): void {
  if (toWipe.has(folio)) return;
  toWipe.add(folio);
  wipes++;
}

/** Drop a reference; the last one gives the page back to the pool (folio_put). Callable from a completion. */
export function folio_put(folio: Folio): void {
  if (--folio.refcount > 0) return;
  const { memory } = folio;
  if (folio.refcount < 0 || folio.mapping !== undefined || folio.writeback.isSet || folio.lock.locked) {
    memory.validator.violation(undefined, 'folio-state', {
      message:
        folio.refcount < 0
          ? 'a folio is put more often than it was got'
          : `the last reference to a folio is put while it is ${folio.lock.locked ? 'locked' : 'in the page cache or under writeback'}`,
      rule: 'folio#freed-when-nobody-has-it',
      lock: 'folio',
    });
    return;
  }
  if (memory.validator.stacks && io_under_way(folio.data) !== undefined) {
    memory.validator.violation(undefined, 'folio-state', {
      message: 'the last reference to a folio is put while a device reads or writes its bytes',
      rule: 'folio#freed-when-nobody-has-it',
      lock: 'folio',
    });
  }
  if (wipes > 0 && toWipe.delete(folio)) {
    wipes--;
    folio.data.fill(0);
  }
  folio.data = FREED;
  folio.private = undefined;
  // Anonymous memory leaves the lists with its last user.
  folio.lru?.remove(folio);
  if (folio.poisoned) memory.nr_poisoned++;
  else memory.freePage(folio.pfn);
}

/** Byte position of a folio in its file (folio_pos). */
export function folio_pos(folio: Folio): number {
  return folio.index * PAGE_SIZE;
}

/** The page that holds byte `pos`. Positions go beyond 32 bits, so a shift will not do. */
export function pageOf(pos: number): number {
  return pos <= 0x7fffffff ? pos >> PAGE_SHIFT : Math.floor(pos / PAGE_SIZE);
}

/** Zero `length` bytes from `from` (folio_zero_range). */
export function folio_zero_range(folio: Folio, from: number, length: number): void {
  folio.data.fill(0, from, from + length);
}
