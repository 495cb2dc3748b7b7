/** How a dirty folio becomes clean: to be written, or because nobody wants it any more (mm/page-writeback.c, mm/truncate.c). */
import type { Task } from '../sched/task.js';
import type { AddressSpace } from './address-space.js';
import type { Folio } from './folio.js';
import { fields_of, tree_of } from './folio-fields.js';
import { folio_mark_dirty, folio_violation } from './folio-state.js';
import { folio_mkclean } from './rmap.js';

/** The dirty bit goes; counts only, the tree's mark is the caller's business. */
function accountCleaned(mapping: AddressSpace, folio: Folio): void {
  fields_of(folio).dirty = false;
  if (--mapping.memory.nr_dirty < 0) {
    mapping.memory.nr_dirty = 0;
    mapping.memory.validator.violation(undefined, 'folio-state', {
      message: 'a dirty folio is cleaned that was never counted as dirty',
      rule: 'folio#counted-while-dirty',
      lock: 'folio',
    });
  }
  const bdi = mapping.host.i_bdi;
  if (bdi !== undefined) bdi.nr_dirty--;
}

/**
 * Before writepage: the folio counts as clean, so that who changes it from now on dirties it again. The tree still
 * tags it dirty until folio_start_writeback or a redirty make the two agree (folio_clear_dirty_for_io).
 * @returns whether it was dirty, so that there is something to write
 */
export function folio_clear_dirty_for_io(task: Task, folio: Folio): boolean {
  if (!folio.lock.locked) {
    folio_violation(task, 'a folio is cleaned for I/O that is not locked', 'folio#cleaned-when-locked');
  }
  // What was stored through page tables counts, and the next store must fault.
  if (folio.mapcount > 0 && folio_mkclean(task, folio)) folio_mark_dirty(task, folio);
  if (!folio.dirty) return false;
  const { mapping } = folio;
  if (mapping === undefined || !mapping.i_pages.getMark(folio.index, 'dirty')) fields_of(folio).dirty = false;
  else accountCleaned(mapping, folio);
  return true;
}

/** Nobody wants what was written to the folio: it goes away (folio_cancel_dirty). The folio is locked. */
export function folio_cancel_dirty(folio: Folio): void {
  const { mapping } = folio;
  if (!folio.dirty) return;
  if (mapping === undefined || !mapping.i_pages.getMark(folio.index, 'dirty')) {
    fields_of(folio).dirty = false;
    return;
  }
  accountCleaned(mapping, folio);
  tree_of(mapping).clearMark(folio.index, 'dirty');
  tree_of(mapping).clearMark(folio.index, 'towrite');
}
