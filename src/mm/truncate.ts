/**
 * Taking pages away because their bytes are gone (mm/truncate.c): truncation, holes, eviction. Whoever does it to a file
 * in use holds invalidate_lock exclusively, so that nobody fills the range again before its blocks are gone as well.
 */
import { assert_held, type Exclusive } from '../locking/held.js';
import { type Awaitable, andThen, withCleanup } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import { might_sleep } from '../sched/wait.js';
import type { AddressSpace } from './address-space.js';
import { filemap_get_folio, filemap_get_folios, filemap_remove_folio, folios_put } from './filemap-tree.js';
import { type Folio, folio_put, folio_zero_range, PAGE_SIZE, pageOf } from './folio.js';
import { folio_invalidate } from './folio-promises.js';
import { folio_mark_dirty, folio_trylock, folio_unlock, folio_wait_writeback } from './folio-state.js';
import { unmap_mapping_folio, unmap_mapping_pages } from './rmap.js';

const BATCH = 32;
const RULE = 'address_space_operations.invalidate_folio#';

/**
 * Remove the cached pages of bytes `start` to `end`, inclusive, dirty or not, waiting for writes under way (truncate_inode_pages_range).
 * Of pages that are covered in part the part is zeroed in memory only: the filesystem zeroes it on the device, or dirties the
 * page, itself.
 *
 * @param end Infinity for the end of the file
 * @param held the mapping's own invalidate_lock
 * @throws what invalidate_folio throws
 */
export function truncate_inode_pages_range(
  task: Task,
  mapping: AddressSpace,
  start: number,
  end: number,
  _held: Exclusive<'invalidate_lock'>,
): Promise<void> {
  checkHeld(task, mapping);
  return truncateRange(task, mapping, start, end, true);
}

/** Remove every cached page from byte `start` on (truncate_inode_pages). Otherwise as truncate_inode_pages_range. */
export function truncate_inode_pages(
  task: Task,
  mapping: AddressSpace,
  start: number,
  held: Exclusive<'invalidate_lock'>,
): Promise<void> {
  return truncate_inode_pages_range(task, mapping, start, Number.POSITIVE_INFINITY, held);
}

/** Remove every page of an inode that is being evicted, which nobody else can reach any more (truncate_inode_pages_final). */
export function truncate_inode_pages_final(task: Task, mapping: AddressSpace): Awaitable<void> {
  might_sleep(task, 'truncation of pages');
  // Those of a small file, which nobody has locked and nobody writes, go at once.
  return andThen(dropIdle(task, mapping), truncateRest, task, mapping);
}

function truncateRest(_idle: void, task: Task, mapping: AddressSpace): Awaitable<void> {
  return mapping.nrpages === 0 ? undefined : truncateRange(task, mapping, 0, Number.POSITIVE_INFINITY, false);
}

/** Remove the first pages of a mapping that nobody can reach, but for those that are locked or under writeback. */
function dropIdle(task: Task, mapping: AddressSpace): Awaitable<void> {
  const folios = filemap_get_folios(mapping, 0, Number.POSITIVE_INFINITY, BATCH);
  return withCleanup(dropIdleOf, folios_put, folios, task, mapping);
}

function dropIdleOf(folios: readonly Folio[], task: Task, mapping: AddressSpace): Awaitable<void> {
  return dropIdleFrom(undefined, task, mapping, folios, 0);
}

function dropIdleFrom(
  _before: void,
  task: Task,
  mapping: AddressSpace,
  folios: readonly Folio[],
  from: number,
): Awaitable<void> {
  for (let i = from; i < folios.length; i++) {
    const folio = folios[i];
    if (folio === undefined || folio.writeback.isSet || !folio_trylock(task, folio)) continue;
    const dropped = dropLocked(task, mapping, folio, false);
    if (dropped instanceof Promise) return andThen(dropped, dropIdleFrom, task, mapping, folios, i + 1);
  }
  return undefined;
}

/**
 * Remove what lies beyond a new, smaller size that the host has set already (truncate_pagecache). In this order a writer
 * or reader that comes in between sees the new size.
 */
export async function truncate_pagecache(
  task: Task,
  mapping: AddressSpace,
  newsize: number,
  held: Exclusive<'invalidate_lock'>,
): Promise<void> {
  const first = pageOf(newsize + PAGE_SIZE - 1);
  // Once before, for speed, and once after: a private copy may have been made of a page that was still there.
  unmap_mapping_pages(task, mapping, first, Number.POSITIVE_INFINITY, true);
  await truncate_inode_pages_range(task, mapping, newsize, Number.POSITIVE_INFINITY, held);
  unmap_mapping_pages(task, mapping, first, Number.POSITIVE_INFINITY, true);
}

/** Remove the cached pages of a hole, bytes `start` to `end`, inclusive, after the filesystem has zeroed what it covers in part (truncate_pagecache_range). */
export function truncate_pagecache_range(
  task: Task,
  mapping: AddressSpace,
  start: number,
  end: number,
  held: Exclusive<'invalidate_lock'>,
): Promise<void> {
  // Whole pages only, as there: the parts at the edges are zeroed in the page and stay.
  const [first, beyond] = [pageOf(start + PAGE_SIZE - 1), pageOf(end + 1)];
  if (beyond > first) unmap_mapping_pages(task, mapping, first, beyond, false);
  return truncate_inode_pages_range(task, mapping, start, end, held);
}

/**
 * Set a new file size and make the page cache follow (truncate_setsize). i_rwsem and invalidate_lock are held exclusively.
 * @param setSize writes i_size (i_size_write)
 */
export async function truncate_setsize(
  task: Task,
  mapping: AddressSpace,
  newsize: number,
  setSize: (size: number) => void,
  held: Exclusive<'invalidate_lock'>,
): Promise<void> {
  const oldsize = mapping.host.i_size;
  setSize(newsize);
  if (newsize > oldsize) await pagecache_isize_extended(task, mapping, oldsize, newsize);
  await truncate_pagecache(task, mapping, newsize, held);
}

/**
 * The file has grown over bytes `from` to `to`, exclusive (pagecache_isize_extended): what was stored beyond the old end in its last page, through a
 * mapping, must read as zeros.
 * @param to the new size, or where the write that made it so begins
 */
export async function pagecache_isize_extended(
  task: Task,
  mapping: AddressSpace,
  from: number,
  to: number,
): Promise<void> {
  const offset = from & (PAGE_SIZE - 1);
  if (to <= from || offset === 0) return;
  const end = Math.min(PAGE_SIZE, offset + to - from);
  const folio = filemap_get_folio(mapping, pageOf(from));
  if (folio === undefined) return;
  try {
    await folio.lock.lock(task);
    try {
      if (folio.mapping === mapping && folio.uptodate && hasBytes(folio, offset, end)) {
        folio_zero_range(folio, offset, end - offset);
        folio_mark_dirty(task, folio);
      }
    } finally {
      folio_unlock(task, folio);
    }
  } finally {
    folio_put(folio);
  }
}

/** True where a byte from `offset` on, before `end`, is not zero. */
function hasBytes(folio: Folio, offset: number, end: number): boolean {
  for (let i = offset; i < end; i++) if (folio.data[i] !== 0) return true;
  return false;
}

/** The guard says that it is held; this looks whether it is, now and exclusively. */
function checkHeld(task: Task, { invalidate_lock: lock }: AddressSpace): void {
  assert_held(task, lock, 'write', `${RULE}filesystem-takes-invalidate_lock`);
}

/** @param inUse the file can be reached by others, so that invalidate_lock has to be held */
async function truncateRange(
  task: Task,
  mapping: AddressSpace,
  start: number,
  end: number,
  inUse: boolean,
): Promise<void> {
  might_sleep(task, 'truncation of pages');
  if (mapping.nrpages === 0 || end < start) return;
  const first = pageOf(start + PAGE_SIZE - 1);
  // The page after the last one that goes as a whole.
  const beyond = end === Number.POSITIVE_INFINITY ? end : pageOf(end + 1);
  await sweep(task, mapping, first, beyond - 1, inUse, false);
  await zeroEdges(task, mapping, start, end, inUse);
  // What the first sweep passed by is locked or being written; nothing new can come, so this one ends.
  await sweep(task, mapping, first, beyond - 1, inUse, true);
}

/** Remove whole pages, `first` to `last` inclusive; without `wait` those that are locked or under writeback are left for the next sweep. */
async function sweep(
  task: Task,
  mapping: AddressSpace,
  first: number,
  last: number,
  inUse: boolean,
  wait: boolean,
): Promise<void> {
  let at = first;
  while (at <= last) {
    const folios = filemap_get_folios(mapping, at, last, BATCH);
    if (folios.length === 0) return;
    try {
      for (const folio of folios) {
        at = folio.index + 1;
        if (!wait) {
          if (folio.writeback.isSet || !folio_trylock(task, folio)) continue;
        } else {
          const lock = folio.lock.lock(task);
          if (lock instanceof Promise) await lock;
        }
        const dropped = dropLocked(task, mapping, folio, inUse);
        if (dropped instanceof Promise) await dropped;
      }
    } finally {
      folios_put(folios);
    }
    await task.sched.yield();
  }
}

/** Take a locked folio out of the cache, once it is not under writeback, and unlock it. */
function dropLocked(task: Task, mapping: AddressSpace, folio: Folio, inUse: boolean): Awaitable<void> {
  return withCleanup(drop, unlock, task, folio, mapping, inUse);
}

function unlock(task: Task, folio: Folio): void {
  folio_unlock(task, folio);
}

function drop(task: Task, folio: Folio, mapping: AddressSpace, inUse: boolean): Awaitable<void> {
  if (folio.mapping !== mapping) return undefined;
  const written = folio.writeback.isSet ? folio_wait_writeback(task, folio) : undefined;
  return andThen(andThen(written, cleanUp, task, folio, mapping, inUse), remove, task, folio);
}

function cleanUp(_written: void, task: Task, folio: Folio, mapping: AddressSpace, inUse: boolean): Awaitable<void> {
  return truncate_cleanup_folio(task, mapping, folio, inUse);
}

function remove(_clean: void, task: Task, folio: Folio): void {
  filemap_remove_folio(task, folio);
}

/** A locked folio that is about to leave the cache: out of the page tables, without private data (truncate_cleanup_folio). */
function truncate_cleanup_folio(task: Task, mapping: AddressSpace, folio: Folio, inUse: boolean): Awaitable<void> {
  if (folio.mapcount > 0) unmap_mapping_folio(task, folio);
  return folio.private === undefined ? undefined : folio_invalidate(task, mapping, folio, 0, PAGE_SIZE, inUse);
}

/** Drop a locked folio, dirty or not, though the file is not being cut (truncate_inode_folio): its memory is broken. */
export async function truncate_inode_folio(task: Task, mapping: AddressSpace, folio: Folio): Promise<void> {
  await truncate_cleanup_folio(task, mapping, folio, false);
  filemap_remove_folio(task, folio);
}

/** Zero the covered parts of the pages at the two ends of the range, which may be one page. */
async function zeroEdges(task: Task, mapping: AddressSpace, start: number, end: number, inUse: boolean): Promise<void> {
  const head = start & (PAGE_SIZE - 1);
  const firstPage = pageOf(start);
  const lastPage = end === Number.POSITIVE_INFINITY ? end : pageOf(end);
  const tail = end === Number.POSITIVE_INFINITY ? 0 : (end + 1) & (PAGE_SIZE - 1);
  if (head !== 0) {
    const to = lastPage === firstPage && tail !== 0 ? tail : PAGE_SIZE;
    await zeroPart(task, mapping, firstPage, head, to, inUse);
    if (lastPage === firstPage) return;
  }
  if (tail !== 0) await zeroPart(task, mapping, lastPage, 0, tail, inUse);
}

/** truncate_inode_partial_folio. */
async function zeroPart(
  task: Task,
  mapping: AddressSpace,
  index: number,
  from: number,
  to: number,
  inUse: boolean,
): Promise<void> {
  const folio = filemap_get_folio(mapping, index);
  if (folio === undefined) return;
  try {
    await folio.lock.lock(task);
    try {
      if (folio.mapping !== mapping) return;
      await folio_wait_writeback(task, folio);
      folio_zero_range(folio, from, to - from);
      if (folio.private !== undefined) await folio_invalidate(task, mapping, folio, from, to - from, inUse);
    } finally {
      folio_unlock(task, folio);
    }
  } finally {
    folio_put(folio);
  }
}
