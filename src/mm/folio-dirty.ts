/** Dirtiness and writeback of one folio: its bits, the marks in the mapping and the machine's counts (mm/page-writeback.c). */
import { address_space_operations } from '../contract/address-space.js';
import { call } from '../locking/context.js';
import type { Awaitable } from '../sched/awaitable.js';
import type { Errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { AddressSpace } from './address-space.js';
import type { Folio } from './folio.js';
import type { WritebackControl } from './operations.js';

/**
 * The bytes of a locked folio have been changed (folio_mark_dirty). May not block.
 * @returns true where it was clean
 */
export function folio_mark_dirty(task: Task, folio: Folio): boolean {
  const { mapping } = folio;
  if (mapping === undefined) {
    const clean = !folio.dirty;
    folio.dirty = true;
    return clean;
  }
  const ops = mapping.a_ops;
  if (ops.dirty_folio === undefined) return filemap_dirty_folio(task, mapping, folio);
  return call(
    task,
    address_space_operations.dirty_folio,
    { folio: folio.lock },
    () => ops.dirty_folio?.(task, mapping, folio) ?? false,
  );
}

/** What dirty_folio does for mappings without private data (filemap_dirty_folio). */
export function filemap_dirty_folio(_task: Task, mapping: AddressSpace, folio: Folio): boolean {
  if (folio.dirty) return false;
  folio.dirty = true;
  mapping.memory.nr_dirty++;
  mapping.i_pages.setMark(folio.index, 'dirty');
  mapping.host.mark_dirty_pages();
  return true;
}

/**
 * Take the dirty bit of a locked folio because it will be written now (folio_clear_dirty_for_io). The mark in the mapping stays until
 * folio_start_writeback or a new dirtying, so that a sync meanwhile does not miss it.
 * @returns true where it was dirty
 */
export function folio_clear_dirty_for_io(_task: Task, folio: Folio): boolean {
  if (!folio.dirty) return false;
  folio.dirty = false;
  if (folio.mapping !== undefined) folio.memory.nr_dirty--;
  return true;
}

/** Forget that a locked folio is dirty: its bytes are not wanted any more (folio_cancel_dirty). */
export function folio_cancel_dirty(task: Task, folio: Folio): void {
  folio_clear_dirty_for_io(task, folio);
  folio.mapping?.i_pages.clearMark(folio.index, 'dirty');
  folio.mapping?.i_pages.clearMark(folio.index, 'towrite');
}

/** A folio that could not be written now stays dirty (folio_redirty_for_writepage). */
export function folio_redirty_for_writepage(task: Task, wbc: WritebackControl, folio: Folio): boolean {
  wbc.pages_skipped++;
  const { mapping } = folio;
  return mapping !== undefined && filemap_dirty_folio(task, mapping, folio);
}

/** I/O on a locked folio begins (folio_start_writeback); the completion calls folio_end_writeback. */
export function folio_start_writeback(task: Task, folio: Folio): void {
  if (!folio.writeback.set()) {
    task.validator.violation(task, 'folio-state', { message: `folio ${folio.index} is under writeback already` });
    return;
  }
  // For as long as the device reads the bytes, whatever becomes of the mapping.
  folio.refcount++;
  folio.memory.nr_writeback++;
  const pages = folio.mapping?.i_pages;
  pages?.setMark(folio.index, 'writeback');
  if (!folio.dirty) pages?.clearMark(folio.index, 'dirty');
  pages?.clearMark(folio.index, 'towrite');
}

/**
 * The I/O has ended (folio_end_writeback). Callable from a completion.
 * @param error what the device said; every open file hears of it once, at its next fsync
 */
export function folio_end_writeback(task: Task, folio: Folio, error?: Errno): void {
  const { mapping, memory } = folio;
  if (!folio.writeback.isSet) {
    task.validator.violation(task, 'folio-state', { message: `folio ${folio.index} ends a writeback never begun` });
    return;
  }
  if (error !== undefined && mapping !== undefined) mapping_set_error(mapping, error);
  mapping?.i_pages.clearMark(folio.index, 'writeback');
  memory.nr_writeback--;
  folio.writeback.clear();
  if (--folio.refcount === 0) memory.free(folio.data);
  memory.progress.wake_all();
}

/** Remember a writeback error for those who have the file open (mapping_set_error). */
export function mapping_set_error(mapping: AddressSpace, error: Errno): void {
  mapping.wb_err.set(error);
}

/** Sleep until the folio is not under writeback. At once where it is not. The caller has a reference or the lock. */
export function folio_wait_writeback(task: Task, folio: Folio): Awaitable<void> {
  return folio.writeback.wait(task);
}
