/**
 * Readahead (mm/readahead.c): guesses from what an open file has read what it will read next, puts locked folios for it into
 * the cache, and has the filesystem fill them. Windows start small and double while reading stays sequential; the
 * folio at which half of a window is used up carries a mark, and reading it starts the next window.
 */
import { address_space_operations } from '../contract/address-space.js';
import { call } from '../locking/context.js';
import type { Shared } from '../locking/held.js';
import type { Task } from '../sched/task.js';
import type { AddressSpace, MmFile } from './address-space.js';
import { filemap_add_folio, filemap_remove_folio } from './filemap-tree.js';
import { type Folio, folio_get, folio_put, PAGE_SIZE, pageOf } from './folio.js';
import { folio_locked_by, folio_trylock, folio_unlock, folio_violation } from './folio-state.js';
import { folio_alloc_nowait } from './page-alloc.js';
import type { FileRaState } from './readahead-state.js';

/** The first window for a read of `size` pages: the request rounded up to a power of two, and then some (get_init_ra_size). */
export function get_init_ra_size(size: number, max: number): number {
  const rounded = size <= 1 ? 1 : 2 ** Math.ceil(Math.log2(size));
  if (rounded <= max / 32) return rounded * 4;
  if (rounded <= max / 4) return rounded * 2;
  return max;
}

/** The window after one of `size` pages (get_next_ra_size). */
export function get_next_ra_size(size: number, max: number): number {
  if (size < max / 16) return 4 * size;
  if (size <= max / 2) return 2 * size;
  return max;
}

/**
 * A read misses page `index` and wants `request` pages: read them, and ahead of them what the file's history suggests
 * (page_cache_sync_ra). Takes invalidate_lock shared. When it returns the folios are in the cache, as far as memory allowed, filled or being filled.
 */
export async function page_cache_sync_ra(
  task: Task,
  file: MmFile | undefined,
  mapping: AddressSpace,
  index: number,
  request: number,
): Promise<void> {
  const ra = file?.f_ra;
  if (ra === undefined || ra.ra_pages === 0) {
    await do_page_cache_ra(task, file, mapping, index, Math.max(1, Math.min(request, 32)), 0);
    return;
  }
  const max = ra.ra_pages;
  const previous = ra.prev_pos < 0 ? -1 : pageOf(ra.prev_pos);
  if (index === 0 || request > max || (previous >= 0 && index - previous >= 0 && index - previous <= 1)) {
    ra.start = index;
    ra.size = get_init_ra_size(request, max);
    ra.async_size = ra.size > request ? ra.size - request : ra.size >> 1;
  } else {
    // A run of pages in the cache just before: an interleaved sequential stream that has lost its state.
    const history = count_history(mapping, index, max);
    if (history <= request) {
      await do_page_cache_ra(task, file, mapping, index, request, 0);
      return;
    }
    // As far back as the history goes at all: it is from the start of the file.
    ra.start = index;
    ra.size = Math.min((history >= index ? history * 2 : history) + request, max);
    ra.async_size = Math.min(1, ra.size);
  }
  await do_page_cache_ra(task, file, mapping, ra.start, ra.size, ra.async_size);
}

/**
 * A read has come to a folio that carries the readahead mark: start on the next window before it is needed
 * (page_cache_async_ra). Takes invalidate_lock shared.
 */
export async function page_cache_async_ra(
  task: Task,
  file: MmFile | undefined,
  mapping: AddressSpace,
  folio: Folio,
  request: number,
): Promise<void> {
  folio.readahead = false;
  const ra = file?.f_ra;
  if (ra === undefined || ra.ra_pages === 0 || folio.writeback.isSet) return;
  const max = ra.ra_pages;
  const { index } = folio;
  if (index === ra.start + ra.size - ra.async_size) {
    ra.start += ra.size;
    ra.size = get_next_ra_size(ra.size, max);
  } else {
    // Somebody else's mark: go on where the cache ends, if that is near.
    const start = next_miss(mapping, index + 1, max);
    if (start === undefined) return;
    ra.start = start;
    ra.size = get_next_ra_size(start - index + request, max);
  }
  ra.async_size = ra.size;
  await do_page_cache_ra(task, file, mapping, ra.start, ra.size, ra.async_size);
}

/** Read pages into the cache because somebody says that they will be needed (force_page_cache_ra: POSIX_FADV_WILLNEED). */
export async function force_page_cache_readahead(
  task: Task,
  file: MmFile | undefined,
  mapping: AddressSpace,
  index: number,
  count: number,
): Promise<void> {
  const chunk = 512;
  for (let done = 0; done < count; done += chunk) {
    await do_page_cache_ra(task, file, mapping, index + done, Math.min(chunk, count - done), 0);
  }
}

/** A new position: the file's history says nothing about it (for random reads after POSIX_FADV_RANDOM, set ra_pages to 0). */
export function file_ra_state_init(ra: FileRaState, raPages: number): void {
  ra.start = 0;
  ra.size = 0;
  ra.async_size = 0;
  ra.ra_pages = raPages;
  ra.prev_pos = -1;
}

/** Pages that are cached without a gap before `index`, at most `max` (count_history_pages). */
function count_history(mapping: AddressSpace, index: number, max: number): number {
  let count = 0;
  while (count < max && count < index && mapping.i_pages.load(index - 1 - count) !== undefined) count++;
  return count;
}

/** The first page from `index` on that is not cached, if it is within `max` pages (page_cache_next_miss). */
function next_miss(mapping: AddressSpace, index: number, max: number): number | undefined {
  for (let i = index; i < index + max; i++) if (mapping.i_pages.load(i) === undefined) return i;
  return undefined;
}

/** Cut at the end of the file, then read (do_page_cache_ra). */
async function do_page_cache_ra(
  task: Task,
  file: MmFile | undefined,
  mapping: AddressSpace,
  start: number,
  count: number,
  lookahead: number,
): Promise<void> {
  const size = mapping.host.i_size;
  if (size === 0) return;
  const last = pageOf(size - 1);
  if (start > last) return;
  const nr = Math.min(count, last - start + 1);
  const taken = mapping.invalidate_lock.read(task);
  using held = taken instanceof Promise ? await taken : taken;
  await page_cache_ra_unbounded(task, file, mapping, start, nr, start + count - lookahead, held);
}

/**
 * Put locked folios for the pages of the range that are not cached into the cache and have them filled (page_cache_ra_unbounded).
 * Stops early where memory is short: nobody needs readahead.
 * @param mark the page that gets the readahead mark; none of the range for no mark
 */
async function page_cache_ra_unbounded(
  task: Task,
  file: MmFile | undefined,
  mapping: AddressSpace,
  start: number,
  count: number,
  mark: number,
  held: Shared<'invalidate_lock'>,
): Promise<void> {
  let batch: Folio[] = [];
  for (let index = start; index < start + count; index++) {
    if (mapping.i_pages.load(index) !== undefined) {
      if (batch.length > 0) await read_pages(task, file, mapping, batch, held);
      batch = [];
      continue;
    }
    const folio = folio_alloc_nowait(task, mapping, index);
    if (folio === undefined) break;
    folio_trylock(task, folio);
    filemap_add_folio(task, mapping, folio);
    folio.readahead = index === mark;
    folio_get(folio);
    batch.push(folio);
  }
  if (batch.length > 0) await read_pages(task, file, mapping, batch, held);
}

/** Have the filesystem read locked folios, one reference of each ours (read_pages). Those that it does not try leave the cache again. */
async function read_pages(
  task: Task,
  file: MmFile | undefined,
  mapping: AddressSpace,
  folios: Folio[],
  held: Shared<'invalidate_lock'>,
): Promise<void> {
  const { readahead, read_folio } = mapping.a_ops;
  let left: Folio | undefined;
  try {
    if (readahead !== undefined) {
      const participants = { mapping: mapping.invalidate_lock, folios: folios[0]?.lock };
      await call(task, address_space_operations.readahead, participants, () =>
        readahead(task, { file, mapping, folios }),
      );
    } else if (read_folio !== undefined && held.released === false) {
      for (const folio of folios) {
        const participants = { mapping: mapping.invalidate_lock, folio: folio.lock };
        const reading = call(task, address_space_operations.read_folio, participants, () =>
          read_folio(task, file, folio),
        );
        if (reading instanceof Promise) await reading;
      }
    }
  } catch {
    // Who needs the page reads it again, and gets the error.
  } finally {
    for (const folio of folios) {
      if (folio_locked_by(task, folio)) {
        if (folio.uptodate) left ??= folio;
        else filemap_remove_folio(task, folio);
        folio_unlock(task, folio);
      }
      folio_put(folio);
    }
  }
  if (left !== undefined && readahead !== undefined) left_locked(task, left, readahead);
}

/** A page that readahead has filled and not unlocked: it is tried, not left to its caller. */
function left_locked(task: Task, folio: Folio, operation: object): void {
  folio_violation(
    task,
    `readahead has filled page ${folio.index} and left it locked`,
    'address_space_operations.readahead#unlocks-what-it-tries',
    operation,
  );
}

/** Pages that a read of `count` bytes at `pos` touches. */
export function pages_of_read(pos: number, count: number): number {
  return pageOf(pos + count + PAGE_SIZE - 1) - pageOf(pos);
}
