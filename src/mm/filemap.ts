/** Getting hold of the folios of a file: find, make, lock (mm/filemap.c). */
import type { Exclusive } from '../locking/held.js';
import type { Awaitable } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import type { AddressSpace } from './address-space.js';
import { filemap_add_folio, filemap_discard_folio, filemap_get_folio } from './filemap-tree.js';
import { type Folio, folio_put } from './folio.js';
import { folio_alloc } from './page-alloc.js';

export { filemap_add_folio, filemap_discard_folio, filemap_get_folio, filemap_remove_folio } from './filemap-tree.js';
export { folio_get } from './folio.js';
export { folio_cancel_dirty, folio_clear_dirty_for_io } from './folio-clean.js';
export {
  filemap_dirty_folio,
  folio_clear_uptodate,
  folio_end_read,
  folio_end_writeback,
  folio_hand_over,
  folio_lock,
  folio_mark_dirty,
  folio_mark_uptodate,
  folio_redirty_for_writepage,
  folio_start_writeback,
  folio_trylock,
  folio_unlock,
  folio_wait_writeback,
  mapping_set_error,
} from './folio-state.js';

/** A folio that is locked and on which the receiver has a reference: `held.release()`, then folio_put. */
export interface LockedFolio {
  readonly folio: Folio;
  readonly held: Exclusive<'folio'>;
}

/**
 * The folio at `index`, made where there is none, locked and with a reference (filemap_grab_folio, FGP_LOCK | FGP_CREAT). A new one is
 * not uptodate and its bytes are undefined. At once where it exists, is not locked and memory is not short.
 * @throws ENOMEM where memory cannot be freed
 */
export function filemap_grab_folio(task: Task, mapping: AddressSpace, index: number): Awaitable<LockedFolio> {
  const folio = mapping.i_pages.load(index);
  if (folio !== undefined) {
    const held = folio.lock.tryLock(task);
    if (held === undefined) return grabSlow(task, mapping, index);
    folio.refcount++;
    return { folio, held };
  }
  const fresh = folio_alloc(task, mapping, index);
  if (fresh instanceof Promise) return grabSlow(task, mapping, index, fresh);
  return addLocked(task, mapping, fresh) ?? grabSlow(task, mapping, index);
}

/** Put a new folio into the cache, locked; undefined, and the folio gone, where somebody else was faster. */
function addLocked(task: Task, mapping: AddressSpace, folio: Folio): LockedFolio | undefined {
  const held = folio.lock.tryLock(task);
  if (held === undefined) throw new Error('a new folio is locked');
  // A folio that lost the race belongs to no mapping.
  if (filemap_add_folio(task, mapping, folio)) {
    folio.refcount++;
    return { folio, held };
  }
  held.release();
  filemap_discard_folio(folio);
  return undefined;
}

async function grabSlow(
  task: Task,
  mapping: AddressSpace,
  index: number,
  allocating?: Promise<Folio>,
): Promise<LockedFolio> {
  let fresh = await allocating;
  for (;;) {
    if (fresh !== undefined) {
      const added = addLocked(task, mapping, fresh);
      if (added !== undefined) return added;
      fresh = undefined;
    }
    const found = await filemap_lock_folio(task, mapping, index);
    if (found !== undefined) return found;
    fresh = await folio_alloc(task, mapping, index);
  }
}

/** The folio at `index`, locked and with a reference, or undefined where the cache has none (filemap_lock_folio). */
export function filemap_lock_folio(
  task: Task,
  mapping: AddressSpace,
  index: number,
): Awaitable<LockedFolio | undefined> {
  const folio = filemap_get_folio(mapping, index);
  if (folio === undefined) return undefined;
  const held = folio.lock.tryLock(task);
  if (held !== undefined) return { folio, held };
  return lockSlow(task, mapping, folio);
}

async function lockSlow(task: Task, mapping: AddressSpace, folio: Folio): Promise<LockedFolio | undefined> {
  let held: Exclusive<'folio'>;
  try {
    held = await folio.lock.lock(task);
  } catch (error) {
    folio_put(folio);
    throw error;
  }
  if (folio.mapping === mapping) return { folio, held };
  // It was truncated or reclaimed while we waited; there may be another at its place by now.
  held.release();
  folio_put(folio);
  return filemap_lock_folio(task, mapping, folio.index);
}
