/** Anonymous memory under pressure: it goes to swap (the anonymous half of shrink_folio_list in mm/vmscan.c). */
import type { Task } from '../sched/task.js';
import type { Folio } from './folio.js';
import { folio_trylock } from './folio-state.js';
import { folio_activate } from './lru.js';
import { try_to_unmap } from './rmap.js';
import { swap_writepage } from './swap-io.js';
import { add_to_swap, delete_from_swap_cache } from './swap-state.js';

/**
 * Free a locked anonymous page, of which the caller has a reference: gives it a slot, takes it out of the page tables, writes it.
 * @returns whether nobody has it any more but the caller
 */
export async function shrink_anon(task: Task, folio: Folio): Promise<boolean> {
  if (folio.referenced) {
    folio.referenced = false;
    return false;
  }
  const { swap: already } = folio;
  if (folio.mapcount === 0 && already !== undefined && already.si.swap_map[already.slot] === 1) {
    // Nothing refers to it but its slot: its process has ended.
    delete_from_swap_cache(task, folio);
    return true;
  }
  if (!add_to_swap(task, folio)) {
    // Swap is full: no use in looking at it again soon.
    folio_activate(folio);
    return false;
  }
  const { swap } = folio;
  if (swap === undefined || !try_to_unmap(task, folio, { swap })) return false;
  if (folio.dirty) {
    const writing = swap_writepage(task, folio, swap);
    if (writing instanceof Promise) await writing;
    if (folio.dirty || folio.writeback.isSet || !folio_trylock(task, folio)) return false;
  }
  // Somebody may have wanted it back while it was written.
  if (folio.refcount > 2 || folio.mapcount > 0 || folio.dirty || folio.writeback.isSet) return false;
  if (folio.swap === undefined) return false;
  delete_from_swap_cache(task, folio);
  return true;
}
