/**
 * Which folios a mapping has: the only functions that put one in or take one out. Who does either holds the folio's
 * lock, and the counts and the reclaim lists follow.
 */
import { vm_operations_struct } from '../contract/vm.js';
import { GUARDED, guard_read, guard_write } from '../locking/guarded.js';
import type { Awaitable } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import type { AddressSpace } from './address-space.js';
import { type Folio, folio_get, folio_put, pageOf } from './folio.js';
import { folio_cancel_dirty } from './folio-clean.js';
import { fields_of, tree_of } from './folio-fields.js';
import { call_free_folio, call_release_folio, call_release_folio_nowait } from './folio-promises.js';
import { folio_violation } from './folio-state.js';
import type { Gfp } from './operations.js';
import type { XaMark } from './xarray.js';

/** The folio at page `index` with a reference for the caller, or undefined (filemap_get_folio). Takes no lock. */
export function filemap_get_folio(mapping: AddressSpace, index: number): Folio | undefined {
  const folio = mapping.i_pages.load(index);
  if (folio !== undefined) folio_get(folio);
  return folio;
}

/**
 * Up to `max` folios of the pages `start` to `end`, both inclusive, in order, each with a reference (filemap_get_folios,
 * filemap_get_folios_tag). Give them back with folios_put.
 */
export function filemap_get_folios(
  mapping: AddressSpace,
  start: number,
  end: number,
  max: number,
  mark?: XaMark,
): Folio[] {
  const folios = mapping.i_pages.collect(start, end, max, mark);
  for (const folio of folios) folio_get(folio);
  return folios;
}

/** Drop one reference of each (folio_batch_release). */
export function folios_put(folios: readonly Folio[]): void {
  for (const folio of folios) folio_put(folio);
}

/**
 * Put a locked folio into its mapping (filemap_add_folio). The reference that the folio was made with is the cache's from
 * now on.
 * @returns false where there is one at that index already
 */
export function filemap_add_folio(task: Task, mapping: AddressSpace, folio: Folio): boolean {
  guard_write(task, GUARDED.page_tree, folio.lock);
  if (mapping.i_pages.load(folio.index) !== undefined) return false;
  if (task.row === vm_operations_struct.fault) guard_read(task, GUARDED.filling, mapping.invalidate_lock);
  tree_of(mapping).store(folio);
  fields_of(folio).mapping = mapping;
  const { memory } = mapping;
  memory.nr_file_pages++;
  if (folio.active) memory.active.addHead(folio);
  else memory.inactive.addHead(folio);
  return true;
}

/** Give back a new folio that was not put into the cache, or came too late. It is not locked. */
export function filemap_discard_folio(folio: Folio): void {
  fields_of(folio).mapping = undefined;
  folio_put(folio);
}

/**
 * Take a locked folio out of its mapping, tell the filesystem, and drop the cache's reference (filemap_remove_folio). What was dirty is lost: callers
 * that must not lose it check before.
 */
export function filemap_remove_folio(task: Task, folio: Folio): void {
  const { mapping, memory } = folio;
  guard_write(task, GUARDED.page_tree, folio.lock);
  if (folio.writeback.isSet) {
    folio_violation(task, 'a folio is removed from the page cache under writeback', 'folio#stays-while-written');
  }
  if (folio.mapcount > 0) {
    folio_violation(task, 'a folio is removed from the page cache that is mapped', 'folio#stays-while-mapped');
  }
  if (mapping === undefined) return;
  folio_cancel_dirty(folio);
  if (mapping.i_pages.isMarked(folio.index)) {
    folio_violation(
      task,
      'a folio is removed from the page cache that is tagged dirty, under writeback or to write',
      'folio#leaves-no-tag',
    );
  }
  tree_of(mapping).erase(folio.index);
  fields_of(folio).mapping = undefined;
  folio.lru?.remove(folio);
  memory.nr_file_pages--;
  call_free_folio(task, mapping, folio);
  folio_put(folio);
}

/**
 * Ask the filesystem to let go of what it keeps with a locked folio (filemap_release_folio).
 * @param gfp GFP_NOWAIT where the answer must come without a wait
 * @returns whether the folio may be freed now
 */
export function filemap_release_folio(task: Task, folio: Folio, gfp: Gfp): Awaitable<boolean> {
  if (folio.private === undefined) return true;
  if (folio.writeback.isSet) return false;
  return gfp === 'GFP_NOWAIT' ? call_release_folio_nowait(task, folio) : call_release_folio(task, folio, gfp);
}

/** As filemap_release_folio with GFP_NOWAIT: a filesystem that would have to wait says no. */
export function filemap_release_folio_nowait(task: Task, folio: Folio): boolean {
  if (folio.private === undefined) return true;
  return folio.writeback.isSet ? false : call_release_folio_nowait(task, folio);
}

/** True where any byte from `start` to `end`, both inclusive, is in the cache (filemap_range_has_page). */
export function filemap_range_has_page(mapping: AddressSpace, start: number, end: number): boolean {
  return end >= start && mapping.i_pages.find(pageOf(start), pageOf(end)) !== undefined;
}

/** True where the range is dirty or under writeback, so that a direct read must wait for it (filemap_range_needs_writeback). */
export function filemap_range_needs_writeback(mapping: AddressSpace, start: number, end: number): boolean {
  if (end < start) return false;
  const { i_pages } = mapping;
  const [from, to] = [pageOf(start), pageOf(end)];
  return i_pages.find(from, to, 'dirty') !== undefined || i_pages.find(from, to, 'writeback') !== undefined;
}
